package dev.hibana.interop;

import com.google.gson.JsonArray;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import com.google.protobuf.Timestamp;
import dev.hibana.v1.EffectiveLimits;
import dev.hibana.v1.Execution;
import dev.hibana.v1.Export;
import dev.hibana.v1.Failure;
import dev.hibana.v1.Finding;
import dev.hibana.v1.Import;
import dev.hibana.v1.Module;
import dev.hibana.v1.ModuleVersion;
import java.util.HexFormat;
import java.util.Map;

/** Messages as the lines show them: 64-bit integers as texts, bytes in hexadecimal, what is not set as null. */
final class Show {
  static String hex(ByteString bytes) {
    return HexFormat.of().formatHex(bytes.toByteArray());
  }

  static JsonObject moment(Timestamp at) {
    return moment(at.getSeconds(), at.getNanos());
  }

  static JsonObject moment(Duration span) {
    return moment(span.getSeconds(), span.getNanos());
  }

  private static JsonObject moment(long seconds, int nanos) {
    JsonObject saw = new JsonObject();
    saw.addProperty("seconds", Long.toString(seconds));
    saw.addProperty("nanos", nanos);
    return saw;
  }

  static JsonObject map(Map<String, String> entries) {
    JsonObject saw = new JsonObject();
    entries.forEach(saw::addProperty);
    return saw;
  }

  static JsonArray list(Iterable<String> items) {
    JsonArray saw = new JsonArray();
    items.forEach(saw::add);
    return saw;
  }

  static JsonObject module(Module it) {
    JsonObject saw = new JsonObject();
    saw.addProperty("name", it.getName());
    saw.addProperty("uid", it.getUid());
    saw.addProperty("tier", it.getTier().name());
    saw.addProperty("owner", it.getOwner());
    saw.addProperty("module_name", it.getModuleName());
    saw.addProperty("reference", it.getReference());
    saw.addProperty("description", it.getDescription());
    saw.addProperty("status", it.getStatus().name());
    saw.addProperty("is_public", it.getIsPublic());
    saw.add("labels", map(it.getLabelsMap()));
    saw.addProperty("live_version", it.getLiveVersion());
    saw.addProperty("etag", it.getEtag());
    saw.add("create_time", it.hasCreateTime() ? moment(it.getCreateTime()) : JsonNull.INSTANCE);
    return saw;
  }

  static JsonObject version(ModuleVersion it) {
    JsonObject saw = new JsonObject();
    saw.addProperty("name", it.getName());
    saw.addProperty("version", it.getVersion());
    saw.addProperty("sha256", it.getSha256());
    saw.addProperty("wasm_size_bytes", Long.toString(it.getWasmSizeBytes()));
    saw.addProperty("convention", it.getConvention().name());
    JsonArray exports = new JsonArray();
    it.getExportsList().forEach(each -> exports.add(export(each)));
    saw.add("exports", exports);
    JsonArray imports = new JsonArray();
    it.getImportsList().forEach(each -> imports.add(anImport(each)));
    saw.add("imports", imports);
    saw.addProperty("memory_pages", Long.toString(it.getMemoryPages()));
    saw.addProperty("max_memory_pages", it.hasMaxMemoryPages() ? Long.toString(it.getMaxMemoryPages()) : null);
    JsonArray findings = new JsonArray();
    it.getFindingsList().forEach(each -> findings.add(finding(each)));
    saw.add("findings", findings);
    saw.addProperty("runnable", it.getRunnable());
    saw.addProperty("published", it.getPublished());
    saw.addProperty("creator", it.getCreator());
    return saw;
  }

  private static JsonObject export(Export it) {
    JsonArray parameters = new JsonArray();
    it.getParametersList()
        .forEach(
            parameter -> {
              JsonArray pair = new JsonArray();
              pair.add(parameter.getName());
              pair.add(parameter.getType());
              parameters.add(pair);
            });
    JsonObject saw = new JsonObject();
    saw.addProperty("name", it.getName());
    saw.add("parameters", parameters);
    saw.add("results", list(it.getResultsList()));
    saw.addProperty("callable", it.getCallable());
    return saw;
  }

  private static JsonObject anImport(Import it) {
    JsonObject saw = new JsonObject();
    saw.addProperty("module", it.getModule());
    saw.addProperty("name", it.getName());
    saw.addProperty("kind", it.getKind());
    saw.addProperty("type", it.getType());
    saw.addProperty("granted", it.getGranted());
    return saw;
  }

  static JsonObject finding(Finding it) {
    JsonObject saw = new JsonObject();
    saw.addProperty("severity", it.getSeverity().name());
    saw.addProperty("code", it.getCode());
    saw.addProperty("text", it.getText());
    saw.addProperty("fix", it.getFix());
    return saw;
  }

  static JsonObject failure(Failure it) {
    JsonObject saw = new JsonObject();
    saw.addProperty("code", it.getCode());
    saw.addProperty("message", it.getMessage());
    saw.addProperty("exit_code", it.getExitCode());
    saw.add("backtrace", list(it.getBacktraceList()));
    return saw;
  }

  static JsonObject limits(EffectiveLimits it) {
    JsonObject saw = new JsonObject();
    saw.addProperty("memory_bytes", Long.toString(it.getMemoryBytes()));
    saw.add("timeout", moment(it.getTimeout()));
    saw.addProperty("output_bytes", Long.toString(it.getOutputBytes()));
    return saw;
  }

  static JsonObject record(Execution it) {
    JsonObject saw = new JsonObject();
    saw.addProperty("name", it.getName());
    saw.addProperty("module", it.getModule());
    saw.addProperty("version", it.getVersion());
    saw.addProperty("caller", it.getCaller());
    saw.addProperty("function", it.getFunction());
    saw.addProperty("state", it.getState().name());
    saw.addProperty("outcome", it.getOutcome().name());
    saw.add("failure", it.hasFailure() ? failure(it.getFailure()) : JsonNull.INSTANCE);
    saw.add("create_time", moment(it.getCreateTime()));
    return saw;
  }

  private Show() {}
}
