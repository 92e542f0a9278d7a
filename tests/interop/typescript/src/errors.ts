// Errors and their details, which travel as a google.rpc.Status in the trailing metadata.
import { status as Code, type ServiceError } from "@grpc/grpc-js";

import type { Any } from "./gen/google/protobuf/any.js";
import { BadRequest, ErrorInfo, QuotaFailure, RetryInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";
import { Finding } from "./gen/hibana/v1/module.js";
import { showFinding, showMoment, type Line } from "./show.js";

/** Shows a refused call. */
export function showRefusal(error: ServiceError): Line {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  return {
    code: Code[error.code],
    message: error.details,
    ...showStatus(Status.decode(packed instanceof Buffer ? packed : Buffer.alloc(0))),
  };
}

/** Shows a status that did not come from a call. */
export function decode(input: { status: string }): Line {
  return showStatus(Status.decode(Buffer.from(input.status, "base64")));
}

function showStatus(status: Status): Line {
  return { packed_code: status.code, packed_message: status.message, details: status.details.map(showDetail) };
}

/** Shows one detail; of a kind that the contract does not name, only what it is. */
function showDetail({ typeUrl, value }: Any): Line {
  const type = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
  switch (type) {
    case "google.rpc.ErrorInfo": {
      const { reason, domain, metadata } = ErrorInfo.decode(value);
      return { type, reason, domain, metadata };
    }
    case "google.rpc.BadRequest": {
      const violations = BadRequest.decode(value).fieldViolations;
      return {
        type,
        violations: violations.map(({ field, description, reason }) => ({ field, description, reason })),
      };
    }
    case "google.rpc.RetryInfo":
      return { type, retry_delay: showMoment(RetryInfo.decode(value).retryDelay!) };
    case "google.rpc.QuotaFailure": {
      const { violations } = QuotaFailure.decode(value);
      return { type, violations: violations.map(({ subject, description }) => ({ subject, description })) };
    }
    case "hibana.v1.Finding":
      return { type, ...showFinding(Finding.decode(value)) };
    default:
      return { type };
  }
}
