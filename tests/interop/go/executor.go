package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	hibanav1 "example.com/interop/gen/hibana/v1"
)

// runInput is the input of the calls that run a function.
type runInput struct {
	Module, Function string
	Typed            []shownValue
	JSON             []any
	Stdin            string
	Env              map[string]string
	TimeoutMs        int64 `json:"timeout_ms"`
	DeadlineMs       int64 `json:"deadline_ms"`
}

// typedArguments makes the values that a step shows.
func (input *runInput) typedArguments() (*hibanav1.ListOfValues, error) {
	list := &hibanav1.ListOfValues{}
	for _, shown := range input.Typed {
		value, err := shown.value()
		if err != nil {
			return nil, err
		}
		list.Values = append(list.Values, value)
	}
	return list, nil
}

// invoke runs a function and gets one answer.
func invoke(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input runInput
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	stdin, err := hex.DecodeString(input.Stdin)
	if err != nil {
		return nil, err
	}
	request := &hibanav1.InvokeRequest{Module: input.Module, Function: input.Function, Stdin: stdin, Env: input.Env}
	if input.JSON != nil {
		arguments, err := structpb.NewList(input.JSON)
		if err != nil {
			return nil, err
		}
		request.Arguments = &hibanav1.InvokeRequest_JsonArguments{JsonArguments: arguments}
	} else {
		arguments, err := input.typedArguments()
		if err != nil {
			return nil, err
		}
		request.Arguments = &hibanav1.InvokeRequest_TypedArguments{TypedArguments: arguments}
	}
	if input.TimeoutMs > 0 {
		timeout := durationpb.New(time.Duration(input.TimeoutMs) * time.Millisecond)
		request.Limits = &hibanav1.CallLimits{Timeout: timeout}
	}
	answer, err := as.executor.Invoke(ctx, request)
	if err != nil {
		return nil, err
	}
	typed, plain := showResult(answer.Result)
	return line{
		"execution": answer.Execution,
		"version":   answer.Version,
		"outcome":   answer.Outcome.String(),
		"typed":     typed,
		"json":      plain,
		"failure":   showFailure(answer.Failure),
		"stdout":    hex.EncodeToString(answer.Stdout),
		"stderr":    hex.EncodeToString(answer.Stderr),
	}, nil
}

// execute runs a function and reads its events up to the last.
func execute(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input runInput
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	arguments, err := input.typedArguments()
	if err != nil {
		return nil, err
	}
	if input.DeadlineMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(input.DeadlineMs)*time.Millisecond)
		defer cancel()
	}
	stream, err := as.executor.Execute(ctx, &hibanav1.ExecuteRequest{
		Module:    input.Module,
		Function:  input.Function,
		Arguments: &hibanav1.ExecuteRequest_TypedArguments{TypedArguments: arguments},
	})
	if err != nil {
		return nil, err
	}
	saw, sequences, events := line{}, []string{}, []string{}
	var stdout, stderr []byte
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		sequences = append(sequences, strconv.FormatInt(answer.Event.Sequence, 10))
		switch event := answer.Event.Event.(type) {
		case *hibanav1.ExecutionEvent_Started:
			events = append(events, "started")
			saw["execution"], saw["version"] = event.Started.Execution, event.Started.Version
			saw["sha256"], saw["limits"] = event.Started.Sha256, showLimits(event.Started.Limits)
		case *hibanav1.ExecutionEvent_Stdout:
			events = append(events, "stdout")
			stdout = append(stdout, event.Stdout...)
		case *hibanav1.ExecutionEvent_Stderr:
			events = append(events, "stderr")
			stderr = append(stderr, event.Stderr...)
		case *hibanav1.ExecutionEvent_Result:
			events = append(events, "result")
			saw["outcome"] = event.Result.Outcome.String()
			saw["typed"], saw["json"] = showResult(event.Result.Result)
			saw["failure"] = showFailure(event.Result.Failure)
			saw["stdout_bytes"] = strconv.FormatInt(event.Result.StdoutBytes, 10)
			saw["stderr_bytes"] = strconv.FormatInt(event.Result.StderrBytes, 10)
		default:
			events = append(events, "other")
		}
	}
	saw["sequences"], saw["events"] = sequences, events
	saw["stdout"], saw["stderr"] = hex.EncodeToString(stdout), hex.EncodeToString(stderr)
	return saw, nil
}

// cancelExecution starts a guest that never ends, and ends it with a second call.
func cancelExecution(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input runInput
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	stream, err := as.executor.Execute(ctx, &hibanav1.ExecuteRequest{Module: input.Module})
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	started := first.Event.GetStarted()
	if started == nil {
		return nil, errors.New("the first event is not `started`")
	}
	cancelled, err := as.executor.CancelExecution(ctx, &hibanav1.CancelExecutionRequest{Name: started.Execution})
	if err != nil {
		return nil, err
	}
	saw := line{"execution": started.Execution, "record": showRecord(cancelled.Execution)}
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return saw, nil
		} else if err != nil {
			return nil, err
		}
		if result := answer.Event.GetResult(); result != nil {
			saw["outcome"] = result.Outcome.String()
		}
	}
}

// listExecutions fetches one page after the other.
func listExecutions(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input struct {
		Module   string
		PageSize int32 `json:"page_size"`
	}
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	pages, totals := [][]line{}, []string{}
	request := &hibanav1.ListExecutionsRequest{Module: input.Module, PageSize: input.PageSize}
	for {
		answer, err := as.executor.ListExecutions(ctx, request)
		if err != nil {
			return nil, err
		}
		records := []line{}
		for _, execution := range answer.Executions {
			records = append(records, showRecord(execution))
		}
		pages, totals = append(pages, records), append(totals, strconv.FormatInt(answer.TotalSize, 10))
		if answer.NextPageToken == "" {
			return line{"pages": pages, "total_sizes": totals}, nil
		}
		request.PageToken = answer.NextPageToken
	}
}
