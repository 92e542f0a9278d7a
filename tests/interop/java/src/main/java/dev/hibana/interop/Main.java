package dev.hibana.interop;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** Runs the script of tests/interop against a server and prints what it decoded, one JSON line a step. */
public final class Main {
  /** A call of the script: the caller it speaks for, its input, and what it saw. */
  interface Call {
    JsonObject run(Caller caller, JsonObject input) throws Exception;
  }

  private static final Map<String, Call> CALLS =
      Map.ofEntries(
          Map.entry("upload", Registry::upload),
          Map.entry("upload-unfinished", Registry::uploadUnfinished),
          Map.entry("create", Registry::create),
          Map.entry("list-modules", Registry::listModules),
          Map.entry("get-module", Registry::getModule),
          Map.entry("update-module", Registry::updateModule),
          Map.entry("download", Registry::download),
          Map.entry("invoke", Executor::invoke),
          Map.entry("execute", Executor::execute),
          Map.entry("cancel", Executor::cancel),
          Map.entry("list-executions", Executor::listExecutions),
          Map.entry("decode", (caller, input) -> Errors.decode(input)));

  public static void main(String[] arguments) throws Exception {
    Gson gson = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    JsonArray steps = JsonParser.parseString(Files.readString(Path.of(arguments[0]))).getAsJsonArray();
    String address = System.getenv("HIBANA_ADDRESS");
    Map<String, Caller> callers =
        Map.of(
            "user", new Caller(address, System.getenv("HIBANA_TOKEN")),
            "nobody", new Caller(address, null),
            "latecomer", new Caller(System.getenv("HIBANA_FULL_ADDRESS"), System.getenv("HIBANA_FULL_TOKEN")));
    for (JsonElement each : steps) {
      JsonObject step = each.getAsJsonObject();
      JsonObject line = new JsonObject();
      line.add("step", step.get("step"));
      line.add("saw", run(callers, step.get("call").getAsString(), step.getAsJsonObject("input")));
      out.println(gson.toJson(line));
    }
    for (Caller caller : callers.values()) {
      caller.close();
    }
  }

  /** A refusal of the service is something to print, any other exception ends the program. */
  private static JsonObject run(Map<String, Caller> callers, String call, JsonObject input) throws Exception {
    String as = input.has("as") ? input.get("as").getAsString() : "user";
    try {
      return CALLS.get(call).run(callers.get(as), input);
    } catch (StatusRuntimeException | StatusException refusal) {
      JsonObject saw = new JsonObject();
      saw.add("status", Errors.showRefusal(refusal));
      return saw;
    }
  }

  private Main() {}
}
