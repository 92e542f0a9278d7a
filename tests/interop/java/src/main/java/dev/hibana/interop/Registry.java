package dev.hibana.interop;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import com.google.protobuf.FieldMask;
import dev.hibana.v1.CreateModuleRequest;
import dev.hibana.v1.CreateModuleResponse;
import dev.hibana.v1.DownloadModuleRequest;
import dev.hibana.v1.DownloadModuleResponse;
import dev.hibana.v1.GetModuleRequest;
import dev.hibana.v1.ListModulesRequest;
import dev.hibana.v1.ListModulesResponse;
import dev.hibana.v1.Module;
import dev.hibana.v1.ModuleSpec;
import dev.hibana.v1.ModuleVersion;
import dev.hibana.v1.UpdateModuleRequest;
import dev.hibana.v1.UploadHeader;
import dev.hibana.v1.UploadModuleRequest;
import dev.hibana.v1.UploadModuleResponse;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The calls of ModuleRegistry. */
final class Registry {
  /** Stores a module from a stream: the header, then chunks. */
  static JsonObject upload(Caller caller, JsonObject input) throws Exception {
    ByteString wasm = guest(input);
    UploadHeader.Builder header = header(input).setSha256(sha256(wasm)).setSizeBytes(wasm.size());
    if (input.has("description")) {
      ModuleSpec.Builder spec = ModuleSpec.newBuilder().setDescription(input.get("description").getAsString());
      for (Map.Entry<String, JsonElement> label : input.getAsJsonObject("labels").entrySet()) {
        spec.putLabels(label.getKey(), label.getValue().getAsString());
      }
      header.setModule(spec);
    }
    Caller.Answer<UploadModuleResponse> answer = new Caller.Answer<>();
    StreamObserver<UploadModuleRequest> stream = caller.uploads.uploadModule(answer);
    stream.onNext(UploadModuleRequest.newBuilder().setHeader(header).build());
    int size = input.get("chunk_bytes").getAsInt();
    for (int at = 0; at < wasm.size(); at += size) {
      ByteString chunk = wasm.substring(at, Math.min(at + size, wasm.size()));
      stream.onNext(UploadModuleRequest.newBuilder().setChunk(chunk).build());
    }
    stream.onCompleted();
    UploadModuleResponse stored = answer.get();
    return showStored(stored.getExisted(), stored.getModule(), stored.getVersion());
  }

  /** Sends a header and nothing more, until its deadline has passed. */
  static JsonObject uploadUnfinished(Caller caller, JsonObject input) throws Exception {
    long milliseconds = input.get("deadline_ms").getAsLong();
    Caller.Answer<UploadModuleResponse> answer = new Caller.Answer<>();
    StreamObserver<UploadModuleRequest> stream =
        caller.uploads.withDeadlineAfter(milliseconds, TimeUnit.MILLISECONDS).uploadModule(answer);
    stream.onNext(UploadModuleRequest.newBuilder().setHeader(header(input)).build());
    UploadModuleResponse stored = answer.get();
    return showStored(stored.getExisted(), stored.getModule(), stored.getVersion());
  }

  /** Stores or inspects a module that comes in one message. */
  static JsonObject create(Caller caller, JsonObject input) throws IOException {
    CreateModuleResponse stored =
        caller.registry.createModule(
            CreateModuleRequest.newBuilder()
                .setHeader(header(input).setValidateOnly(input.get("validate_only").getAsBoolean()))
                .setWasm(guest(input))
                .build());
    return showStored(stored.getExisted(), stored.getModule(), stored.getVersion());
  }

  /** Fetches one page after the other. */
  static JsonObject listModules(Caller caller, JsonObject input) {
    JsonArray pages = new JsonArray();
    JsonArray totals = new JsonArray();
    ListModulesRequest.Builder request = ListModulesRequest.newBuilder().setPageSize(input.get("page_size").getAsInt());
    do {
      ListModulesResponse page = caller.registry.listModules(request.build());
      JsonArray names = new JsonArray();
      page.getModulesList().forEach(module -> names.add(module.getModuleName()));
      pages.add(names);
      totals.add(Long.toString(page.getTotalSize()));
      request.setPageToken(page.getNextPageToken());
    } while (!request.getPageToken().isEmpty());
    JsonObject saw = new JsonObject();
    saw.add("pages", pages);
    saw.add("total_sizes", totals);
    return saw;
  }

  static JsonObject getModule(Caller caller, JsonObject input) {
    GetModuleRequest request = GetModuleRequest.newBuilder().setModule(input.get("module").getAsString()).build();
    JsonObject saw = new JsonObject();
    saw.add("module", Show.module(caller.registry.getModule(request).getModule()));
    return saw;
  }

  static JsonObject updateModule(Caller caller, JsonObject input) {
    Module changed =
        Module.newBuilder()
            .setName(input.get("module").getAsString())
            .setEtag(input.get("etag").getAsString())
            .setDescription(input.get("description").getAsString())
            .build();
    FieldMask mask = FieldMask.newBuilder().addPaths("description").build();
    UpdateModuleRequest request = UpdateModuleRequest.newBuilder().setModule(changed).setUpdateMask(mask).build();
    JsonObject saw = new JsonObject();
    saw.add("module", Show.module(caller.registry.updateModule(request).getModule()));
    return saw;
  }

  /** Reads a version's bytes; the first message tells which version they are of. */
  static JsonObject download(Caller caller, JsonObject input) throws Exception {
    DownloadModuleRequest request =
        DownloadModuleRequest.newBuilder().setVersion(input.get("version").getAsString()).build();
    ModuleVersion version = null;
    ByteString wasm = ByteString.EMPTY;
    for (Iterator<DownloadModuleResponse> parts = caller.registry.downloadModule(request); parts.hasNext(); ) {
      DownloadModuleResponse part = parts.next();
      if (part.hasVersion()) {
        version = part.getVersion();
      }
      wasm = wasm.concat(part.getChunk());
    }
    JsonObject saw = new JsonObject();
    saw.add("version", Show.version(version));
    saw.addProperty("sha256", sha256(wasm));
    saw.addProperty("size", Integer.toString(wasm.size()));
    return saw;
  }

  private static UploadHeader.Builder header(JsonObject input) {
    return UploadHeader.newBuilder()
        .setModuleName(input.get("name").getAsString())
        .setVersion(input.get("version").getAsString());
  }

  private static ByteString guest(JsonObject input) throws IOException {
    String file = input.get("guest").getAsString() + ".wasm";
    return ByteString.copyFrom(Files.readAllBytes(Path.of(System.getenv("HIBANA_GUESTS"), file)));
  }

  private static String sha256(ByteString bytes) throws GeneralSecurityException {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.toByteArray()));
  }

  private static JsonObject showStored(boolean existed, Module module, ModuleVersion version) {
    JsonObject saw = new JsonObject();
    saw.addProperty("existed", existed);
    saw.add("module", Show.module(module));
    saw.add("version", Show.version(version));
    return saw;
  }

  private Registry() {}
}
