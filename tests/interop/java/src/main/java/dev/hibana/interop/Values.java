package dev.hibana.interop;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.ListValue;
import dev.hibana.v1.FunctionResult;
import dev.hibana.v1.ListOfValues;
import dev.hibana.v1.Value;

/** Values as the script and the lines spell them: decimal texts, the bits of floats, `nan`. */
final class Values {
  private static final String NAN = "nan";

  static ListOfValues typedArguments(JsonArray shown) {
    ListOfValues.Builder list = ListOfValues.newBuilder();
    for (JsonElement each : shown) {
      JsonObject argument = each.getAsJsonObject();
      list.addValues(value(argument.get("kind").getAsString(), argument.get("value").getAsString()));
    }
    return list.build();
  }

  private static Value value(String kind, String text) {
    Value.Builder value = Value.newBuilder();
    switch (kind) {
      case "s32" -> value.setS32Value(Integer.parseInt(text));
      case "u32" -> value.setU32Value(Integer.parseUnsignedInt(text));
      case "s64" -> value.setS64Value(Long.parseLong(text));
      case "u64" -> value.setU64Value(Long.parseUnsignedLong(text));
      case "f32" ->
          value.setF32Value(text.equals(NAN) ? Float.NaN : Float.intBitsToFloat(Integer.parseUnsignedInt(text, 16)));
      case "f64" ->
          value.setF64Value(text.equals(NAN) ? Double.NaN : Double.longBitsToDouble(Long.parseUnsignedLong(text, 16)));
      default -> throw new IllegalArgumentException("no such kind: " + kind);
    }
    return value.build();
  }

  private static JsonObject show(Value value) {
    return switch (value.getKindCase()) {
      case S32_VALUE -> shown("s32", Integer.toString(value.getS32Value()));
      case U32_VALUE -> shown("u32", Integer.toUnsignedString(value.getU32Value()));
      case S64_VALUE -> shown("s64", Long.toString(value.getS64Value()));
      case U64_VALUE -> shown("u64", Long.toUnsignedString(value.getU64Value()));
      case F32_VALUE -> {
        float number = value.getF32Value();
        yield shown("f32", Float.isNaN(number) ? NAN : String.format("%08x", Float.floatToRawIntBits(number)));
      }
      case F64_VALUE -> {
        double number = value.getF64Value();
        yield shown("f64", Double.isNaN(number) ? NAN : String.format("%016x", Double.doubleToRawLongBits(number)));
      }
      default -> shown(value.getKindCase().name(), "");
    };
  }

  private static JsonObject shown(String kind, String value) {
    JsonObject saw = new JsonObject();
    saw.addProperty("kind", kind);
    saw.addProperty("value", value);
    return saw;
  }

  /** Makes JSON arguments; those of the script are numbers and texts. */
  static ListValue jsonArguments(JsonArray items) {
    ListValue.Builder list = ListValue.newBuilder();
    for (JsonElement each : items) {
      JsonPrimitive item = each.getAsJsonPrimitive();
      com.google.protobuf.Value.Builder value = com.google.protobuf.Value.newBuilder();
      list.addValues(
          item.isString() ? value.setStringValue(item.getAsString()) : value.setNumberValue(item.getAsDouble()));
    }
    return list.build();
  }

  /** Shows what a function returned, in the form in which it came. */
  static void addResult(JsonObject saw, FunctionResult result) {
    JsonArray items = new JsonArray();
    if (result.hasTyped()) {
      result.getTyped().getValuesList().forEach(value -> items.add(show(value)));
    }
    if (result.hasJson()) {
      result.getJson().getValuesList().forEach(value -> items.add(show(value)));
    }
    saw.add("typed", result.hasTyped() ? items : JsonNull.INSTANCE);
    saw.add("json", result.hasJson() ? items : JsonNull.INSTANCE);
  }

  /** Shows a JSON value; functions of numbers return numbers and texts. */
  private static JsonElement show(com.google.protobuf.Value value) {
    return switch (value.getKindCase()) {
      case NUMBER_VALUE -> new JsonPrimitive(value.getNumberValue());
      case STRING_VALUE -> new JsonPrimitive(value.getStringValue());
      default -> new JsonPrimitive(value.getKindCase().name());
    };
  }

  private Values() {}
}
