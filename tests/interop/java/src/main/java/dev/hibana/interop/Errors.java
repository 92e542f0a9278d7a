package dev.hibana.interop;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.QuotaFailure;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import dev.hibana.v1.Finding;
import io.grpc.protobuf.StatusProto;
import java.util.Base64;

/** Errors and their details, which travel as a google.rpc.Status in the trailing metadata. */
final class Errors {
  /** Shows a refused call. */
  static JsonObject showRefusal(Exception refusal) throws InvalidProtocolBufferException {
    io.grpc.Status status = io.grpc.Status.fromThrowable(refusal);
    // Where the service packed no status, this makes one of code and message.
    Status packed = StatusProto.fromThrowable(refusal);
    boolean has = packed != null && packed.getDetailsCount() > 0;
    JsonObject saw = showStatus(has ? packed : Status.getDefaultInstance());
    saw.addProperty("code", status.getCode().name());
    saw.addProperty("message", status.getDescription() == null ? "" : status.getDescription());
    return saw;
  }

  /** Shows a status that did not come from a call. */
  static JsonObject decode(JsonObject input) throws InvalidProtocolBufferException {
    return showStatus(Status.parseFrom(Base64.getDecoder().decode(input.get("status").getAsString())));
  }

  private static JsonObject showStatus(Status status) throws InvalidProtocolBufferException {
    JsonArray details = new JsonArray();
    for (Any detail : status.getDetailsList()) {
      details.add(showDetail(detail));
    }
    JsonObject saw = new JsonObject();
    saw.addProperty("packed_code", status.getCode());
    saw.addProperty("packed_message", status.getMessage());
    saw.add("details", details);
    return saw;
  }

  /** Shows one detail; of a kind that the contract does not name, only what it is. */
  private static JsonObject showDetail(Any packed) throws InvalidProtocolBufferException {
    JsonObject saw = new JsonObject();
    if (packed.is(ErrorInfo.class)) {
      ErrorInfo info = packed.unpack(ErrorInfo.class);
      saw.addProperty("reason", info.getReason());
      saw.addProperty("domain", info.getDomain());
      saw.add("metadata", Show.map(info.getMetadataMap()));
    } else if (packed.is(BadRequest.class)) {
      JsonArray violations = new JsonArray();
      for (BadRequest.FieldViolation each : packed.unpack(BadRequest.class).getFieldViolationsList()) {
        JsonObject violation = new JsonObject();
        violation.addProperty("field", each.getField());
        violation.addProperty("description", each.getDescription());
        violation.addProperty("reason", each.getReason());
        violations.add(violation);
      }
      saw.add("violations", violations);
    } else if (packed.is(RetryInfo.class)) {
      saw.add("retry_delay", Show.moment(packed.unpack(RetryInfo.class).getRetryDelay()));
    } else if (packed.is(QuotaFailure.class)) {
      JsonArray violations = new JsonArray();
      for (QuotaFailure.Violation each : packed.unpack(QuotaFailure.class).getViolationsList()) {
        JsonObject violation = new JsonObject();
        violation.addProperty("subject", each.getSubject());
        violation.addProperty("description", each.getDescription());
        violations.add(violation);
      }
      saw.add("violations", violations);
    } else if (packed.is(Finding.class)) {
      saw = Show.finding(packed.unpack(Finding.class));
    }
    String url = packed.getTypeUrl();
    saw.addProperty("type", url.substring(url.lastIndexOf('/') + 1));
    return saw;
  }

  private Errors() {}
}
