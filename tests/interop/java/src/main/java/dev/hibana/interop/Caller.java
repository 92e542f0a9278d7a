package dev.hibana.interop;

import dev.hibana.v1.ExecutorGrpc;
import dev.hibana.v1.ModuleRegistryGrpc;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** Who a step speaks for: a connection and a token. */
final class Caller implements AutoCloseable {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final ManagedChannel channel;
  final ModuleRegistryGrpc.ModuleRegistryBlockingStub registry;
  final ModuleRegistryGrpc.ModuleRegistryStub uploads;
  final ExecutorGrpc.ExecutorBlockingStub executor;

  /** Opens a connection; without a token none is sent. */
  Caller(String address, String token) {
    channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
    Metadata metadata = new Metadata();
    if (token != null) {
      metadata.put(AUTHORIZATION, "Bearer " + token);
    }
    ClientInterceptor authorized = MetadataUtils.newAttachHeadersInterceptor(metadata);
    registry = ModuleRegistryGrpc.newBlockingStub(channel).withInterceptors(authorized);
    uploads = ModuleRegistryGrpc.newStub(channel).withInterceptors(authorized);
    executor = ExecutorGrpc.newBlockingStub(channel).withInterceptors(authorized);
  }

  @Override
  public void close() throws InterruptedException {
    channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }

  /** Waits for the one answer of a call whose messages are sent as a stream. */
  static final class Answer<T> implements StreamObserver<T> {
    private final CompletableFuture<T> answer = new CompletableFuture<>();

    @Override
    public void onNext(T message) {
      answer.complete(message);
    }

    @Override
    public void onError(Throwable error) {
      answer.completeExceptionally(error);
    }

    @Override
    public void onCompleted() {
      answer.completeExceptionally(new IllegalStateException("the service gave no answer"));
    }

    T get() throws Exception {
      try {
        return answer.get();
      } catch (ExecutionException failed) {
        throw (Exception) failed.getCause();
      }
    }
  }
}
