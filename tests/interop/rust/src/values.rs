//! Values as the script and the lines spell them: decimal texts, the bits of floats, `nan`.

use std::error::Error;

use prost_types::{value, ListValue};
use serde_json::{json, Value as Json};

use crate::hibana::function_result::Form;
use crate::hibana::value::Kind;
use crate::hibana::{FunctionResult, ListOfValues, Value};
use crate::text;

const NAN: &str = "nan";

pub fn typed_arguments(shown: &Json) -> Result<ListOfValues, Box<dyn Error>> {
    let values = shown.as_array().into_iter().flatten().map(make_value).collect::<Result<_, _>>()?;
    Ok(ListOfValues { values })
}

fn make_value(shown: &Json) -> Result<Value, Box<dyn Error>> {
    let value = text(shown, "value");
    let kind = match text(shown, "kind") {
        "s32" => Kind::S32Value(value.parse()?),
        "u32" => Kind::U32Value(value.parse()?),
        "s64" => Kind::S64Value(value.parse()?),
        "u64" => Kind::U64Value(value.parse()?),
        "f32" if value == NAN => Kind::F32Value(f32::NAN),
        "f32" => Kind::F32Value(f32::from_bits(u32::from_str_radix(value, 16)?)),
        "f64" if value == NAN => Kind::F64Value(f64::NAN),
        "f64" => Kind::F64Value(f64::from_bits(u64::from_str_radix(value, 16)?)),
        other => return Err(format!("no such kind: {other}").into()),
    };
    Ok(Value { kind: Some(kind) })
}

fn show_value(value: &Value) -> Json {
    let (kind, value) = match value.kind {
        Some(Kind::S32Value(number)) => ("s32", number.to_string()),
        Some(Kind::U32Value(number)) => ("u32", number.to_string()),
        Some(Kind::S64Value(number)) => ("s64", number.to_string()),
        Some(Kind::U64Value(number)) => ("u64", number.to_string()),
        Some(Kind::F32Value(number)) if number.is_nan() => ("f32", NAN.into()),
        Some(Kind::F32Value(number)) => ("f32", format!("{:08x}", number.to_bits())),
        Some(Kind::F64Value(number)) if number.is_nan() => ("f64", NAN.into()),
        Some(Kind::F64Value(number)) => ("f64", format!("{:016x}", number.to_bits())),
        _ => ("other", String::new()),
    };
    json!({ "kind": kind, "value": value })
}

/// Makes JSON arguments; those of the script are numbers and texts.
pub fn json_arguments(items: &[Json]) -> ListValue {
    let values = items.iter().map(|item| match item {
        Json::String(text) => value::Kind::StringValue(text.clone()),
        other => value::Kind::NumberValue(other.as_f64().unwrap_or(f64::NAN)),
    });
    ListValue { values: values.map(|kind| prost_types::Value { kind: Some(kind) }).collect() }
}

/// Shows what a function returned as typed values; None if it came otherwise or not at all.
pub fn show_typed(result: Option<&FunctionResult>) -> Option<Vec<Json>> {
    match result?.form.as_ref()? {
        Form::Typed(list) => Some(list.values.iter().map(show_value).collect()),
        Form::Json(_) => None,
    }
}

/// Shows what a function returned as JSON; None if it came otherwise or not at all.
pub fn show_json(result: Option<&FunctionResult>) -> Option<Vec<Json>> {
    let Form::Json(list) = result?.form.as_ref()? else { return None };
    let items = list.values.iter().map(|item| match &item.kind {
        Some(value::Kind::NumberValue(number)) => json!(number),
        Some(value::Kind::StringValue(text)) => json!(text),
        other => json!(format!("{other:?}")),
    });
    Some(items.collect())
}
