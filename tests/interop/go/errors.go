package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	hibanav1 "example.com/interop/gen/hibana/v1"
)

// names are those of the contract; Go spells codes its own way.
var names = map[codes.Code]string{
	codes.InvalidArgument:   "INVALID_ARGUMENT",
	codes.DeadlineExceeded:  "DEADLINE_EXCEEDED",
	codes.NotFound:          "NOT_FOUND",
	codes.AlreadyExists:     "ALREADY_EXISTS",
	codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.Aborted:           "ABORTED",
	codes.Unauthenticated:   "UNAUTHENTICATED",
}

// showRefusal shows a refused call. Its details travel as a google.rpc.Status, which grpc has decoded already.
func showRefusal(refused *status.Status) line {
	name, known := names[refused.Code()]
	if !known {
		name = refused.Code().String()
	}
	packed := &rpc.Status{}
	if len(refused.Details()) > 0 {
		packed = refused.Proto()
	}
	saw := showStatus(packed)
	saw["code"], saw["message"] = name, refused.Message()
	return saw
}

// decodeStep shows a status that did not come from a call.
func decodeStep(text json.RawMessage) (line, error) {
	var input struct{ Status string }
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(input.Status)
	if err != nil {
		return nil, err
	}
	packed := &rpc.Status{}
	if err := proto.Unmarshal(raw, packed); err != nil {
		return nil, err
	}
	return showStatus(packed), nil
}

func showStatus(packed *rpc.Status) line {
	details := []line{}
	for _, detail := range packed.Details {
		details = append(details, showDetail(detail))
	}
	return line{"packed_code": packed.Code, "packed_message": packed.Message, "details": details}
}

// showDetail shows one detail; of a kind that the contract does not name, only what it is.
func showDetail(packed *anypb.Any) line {
	kind := packed.TypeUrl[strings.LastIndex(packed.TypeUrl, "/")+1:]
	message, err := packed.UnmarshalNew()
	if err != nil {
		return line{"type": kind, "error": err.Error()}
	}
	switch detail := message.(type) {
	case *errdetails.ErrorInfo:
		return line{
			"type": kind, "reason": detail.Reason, "domain": detail.Domain, "metadata": orEmpty(detail.Metadata),
		}
	case *errdetails.BadRequest:
		violations := []line{}
		for _, each := range detail.FieldViolations {
			violations = append(violations, line{
				"field": each.Field, "description": each.Description, "reason": each.Reason,
			})
		}
		return line{"type": kind, "violations": violations}
	case *errdetails.RetryInfo:
		return line{"type": kind, "retry_delay": showMoment(detail.RetryDelay)}
	case *errdetails.QuotaFailure:
		violations := []line{}
		for _, each := range detail.Violations {
			violations = append(violations, line{"subject": each.Subject, "description": each.Description})
		}
		return line{"type": kind, "violations": violations}
	case *hibanav1.Finding:
		saw := showFinding(detail)
		saw["type"] = kind
		return saw
	default:
		return line{"type": kind}
	}
}
