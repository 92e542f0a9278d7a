package dev.hibana.interop;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import dev.hibana.v1.CallLimits;
import dev.hibana.v1.CancelExecutionRequest;
import dev.hibana.v1.ExecuteRequest;
import dev.hibana.v1.ExecuteResponse;
import dev.hibana.v1.ExecutionEvent;
import dev.hibana.v1.ExecutionResult;
import dev.hibana.v1.ExecutorGrpc;
import dev.hibana.v1.InvokeRequest;
import dev.hibana.v1.InvokeResponse;
import dev.hibana.v1.ListExecutionsRequest;
import dev.hibana.v1.ListExecutionsResponse;
import dev.hibana.v1.Started;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The calls of Executor. */
final class Executor {
  /** Runs a function and gets one answer. */
  static JsonObject invoke(Caller caller, JsonObject input) {
    InvokeRequest.Builder request =
        InvokeRequest.newBuilder()
            .setModule(input.get("module").getAsString())
            .setFunction(input.get("function").getAsString());
    if (input.has("json")) {
      request.setJsonArguments(Values.jsonArguments(input.getAsJsonArray("json")));
    } else {
      request.setTypedArguments(Values.typedArguments(input.getAsJsonArray("typed")));
    }
    if (input.has("stdin")) {
      request.setStdin(ByteString.copyFrom(HexFormat.of().parseHex(input.get("stdin").getAsString())));
    }
    if (input.has("env")) {
      for (Map.Entry<String, JsonElement> variable : input.getAsJsonObject("env").entrySet()) {
        request.putEnv(variable.getKey(), variable.getValue().getAsString());
      }
    }
    if (input.has("timeout_ms")) {
      int milliseconds = input.get("timeout_ms").getAsInt();
      request.setLimits(
          CallLimits.newBuilder()
              .setTimeout(
                  Duration.newBuilder()
                      .setSeconds(milliseconds / 1000)
                      .setNanos(milliseconds % 1000 * 1_000_000)));
    }
    InvokeResponse answer = caller.executor.invoke(request.build());
    JsonObject saw = new JsonObject();
    saw.addProperty("execution", answer.getExecution());
    saw.addProperty("version", answer.getVersion());
    saw.addProperty("outcome", answer.getOutcome().name());
    Values.addResult(saw, answer.getResult());
    saw.add("failure", answer.hasFailure() ? Show.failure(answer.getFailure()) : null);
    saw.addProperty("stdout", Show.hex(answer.getStdout()));
    saw.addProperty("stderr", Show.hex(answer.getStderr()));
    return saw;
  }

  /** Runs a function and reads its events up to the last. */
  static JsonObject execute(Caller caller, JsonObject input) {
    ExecutorGrpc.ExecutorBlockingStub stub = caller.executor;
    if (input.has("deadline_ms")) {
      stub = stub.withDeadlineAfter(input.get("deadline_ms").getAsLong(), TimeUnit.MILLISECONDS);
    }
    ExecuteRequest request =
        ExecuteRequest.newBuilder()
            .setModule(input.get("module").getAsString())
            .setFunction(input.get("function").getAsString())
            .setTypedArguments(Values.typedArguments(input.getAsJsonArray("typed")))
            .build();
    JsonArray sequences = new JsonArray();
    JsonArray events = new JsonArray();
    ByteString stdout = ByteString.EMPTY;
    ByteString stderr = ByteString.EMPTY;
    JsonObject saw = new JsonObject();
    for (Iterator<ExecuteResponse> answers = stub.execute(request); answers.hasNext(); ) {
      ExecutionEvent event = answers.next().getEvent();
      sequences.add(Long.toString(event.getSequence()));
      events.add(event.getEventCase().name().toLowerCase(Locale.ROOT));
      switch (event.getEventCase()) {
        case STARTED -> addStarted(saw, event.getStarted());
        case STDOUT -> stdout = stdout.concat(event.getStdout());
        case STDERR -> stderr = stderr.concat(event.getStderr());
        case RESULT -> addEnd(saw, event.getResult());
        default -> {}
      }
    }
    saw.add("sequences", sequences);
    saw.add("events", events);
    saw.addProperty("stdout", Show.hex(stdout));
    saw.addProperty("stderr", Show.hex(stderr));
    return saw;
  }

  private static void addStarted(JsonObject saw, Started started) {
    saw.addProperty("execution", started.getExecution());
    saw.addProperty("version", started.getVersion());
    saw.addProperty("sha256", started.getSha256());
    saw.add("limits", Show.limits(started.getLimits()));
  }

  private static void addEnd(JsonObject saw, ExecutionResult result) {
    saw.addProperty("outcome", result.getOutcome().name());
    Values.addResult(saw, result.getResult());
    saw.add("failure", result.hasFailure() ? Show.failure(result.getFailure()) : null);
    saw.addProperty("stdout_bytes", Long.toString(result.getStdoutBytes()));
    saw.addProperty("stderr_bytes", Long.toString(result.getStderrBytes()));
  }

  /** Starts a guest that never ends, and ends it with a second call. */
  static JsonObject cancel(Caller caller, JsonObject input) {
    ExecuteRequest request = ExecuteRequest.newBuilder().setModule(input.get("module").getAsString()).build();
    JsonObject saw = new JsonObject();
    for (Iterator<ExecuteResponse> answers = caller.executor.execute(request); answers.hasNext(); ) {
      ExecutionEvent event = answers.next().getEvent();
      if (event.hasStarted()) {
        String name = event.getStarted().getExecution();
        CancelExecutionRequest end = CancelExecutionRequest.newBuilder().setName(name).build();
        saw.addProperty("execution", name);
        saw.add("record", Show.record(caller.executor.cancelExecution(end).getExecution()));
      } else if (event.hasResult()) {
        saw.addProperty("outcome", event.getResult().getOutcome().name());
      }
    }
    return saw;
  }

  /** Fetches one page after the other. */
  static JsonObject listExecutions(Caller caller, JsonObject input) {
    JsonArray pages = new JsonArray();
    JsonArray totals = new JsonArray();
    ListExecutionsRequest.Builder request =
        ListExecutionsRequest.newBuilder()
            .setModule(input.get("module").getAsString())
            .setPageSize(input.get("page_size").getAsInt());
    do {
      ListExecutionsResponse page = caller.executor.listExecutions(request.build());
      JsonArray records = new JsonArray();
      page.getExecutionsList().forEach(execution -> records.add(Show.record(execution)));
      pages.add(records);
      totals.add(Long.toString(page.getTotalSize()));
      request.setPageToken(page.getNextPageToken());
    } while (!request.getPageToken().isEmpty());
    JsonObject saw = new JsonObject();
    saw.add("pages", pages);
    saw.add("total_sizes", totals);
    return saw;
  }

  private Executor() {}
}
