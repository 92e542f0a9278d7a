"""The gRPC edge: unpack a request, call one service method, pack the answer."""
