"""Traces for an OpenTelemetry collector: the only code that imports OpenTelemetry, loaded where it is switched on."""
