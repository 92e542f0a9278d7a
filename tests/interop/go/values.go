package main

import (
	"fmt"
	"math"
	"strconv"

	hibanav1 "example.com/interop/gen/hibana/v1"
)

// shownValue is a value as the script and the lines spell it.
type shownValue struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

const nan = "nan"

// value makes the value that is shown.
func (shown shownValue) value() (*hibanav1.Value, error) {
	switch shown.Kind {
	case "s32":
		number, err := strconv.ParseInt(shown.Value, 10, 32)
		return &hibanav1.Value{Kind: &hibanav1.Value_S32Value{S32Value: int32(number)}}, err
	case "u32":
		number, err := strconv.ParseUint(shown.Value, 10, 32)
		return &hibanav1.Value{Kind: &hibanav1.Value_U32Value{U32Value: uint32(number)}}, err
	case "s64":
		number, err := strconv.ParseInt(shown.Value, 10, 64)
		return &hibanav1.Value{Kind: &hibanav1.Value_S64Value{S64Value: number}}, err
	case "u64":
		number, err := strconv.ParseUint(shown.Value, 10, 64)
		return &hibanav1.Value{Kind: &hibanav1.Value_U64Value{U64Value: number}}, err
	case "f32":
		number := float32(math.NaN())
		if shown.Value != nan {
			bits, err := strconv.ParseUint(shown.Value, 16, 32)
			if err != nil {
				return nil, err
			}
			number = math.Float32frombits(uint32(bits))
		}
		return &hibanav1.Value{Kind: &hibanav1.Value_F32Value{F32Value: number}}, nil
	case "f64":
		number := math.NaN()
		if shown.Value != nan {
			bits, err := strconv.ParseUint(shown.Value, 16, 64)
			if err != nil {
				return nil, err
			}
			number = math.Float64frombits(bits)
		}
		return &hibanav1.Value{Kind: &hibanav1.Value_F64Value{F64Value: number}}, nil
	default:
		return nil, fmt.Errorf("no such kind: %s", shown.Kind)
	}
}

func showValue(value *hibanav1.Value) shownValue {
	switch kind := value.Kind.(type) {
	case *hibanav1.Value_S32Value:
		return shownValue{"s32", strconv.FormatInt(int64(kind.S32Value), 10)}
	case *hibanav1.Value_U32Value:
		return shownValue{"u32", strconv.FormatUint(uint64(kind.U32Value), 10)}
	case *hibanav1.Value_S64Value:
		return shownValue{"s64", strconv.FormatInt(kind.S64Value, 10)}
	case *hibanav1.Value_U64Value:
		return shownValue{"u64", strconv.FormatUint(kind.U64Value, 10)}
	case *hibanav1.Value_F32Value:
		if math.IsNaN(float64(kind.F32Value)) {
			return shownValue{"f32", nan}
		}
		return shownValue{"f32", fmt.Sprintf("%08x", math.Float32bits(kind.F32Value))}
	case *hibanav1.Value_F64Value:
		if math.IsNaN(kind.F64Value) {
			return shownValue{"f64", nan}
		}
		return shownValue{"f64", fmt.Sprintf("%016x", math.Float64bits(kind.F64Value))}
	default:
		return shownValue{fmt.Sprintf("%T", kind), ""}
	}
}

// showResult shows what a function returned, in the form in which it came.
func showResult(result *hibanav1.FunctionResult) (typed, plain any) {
	switch form := result.GetForm().(type) {
	case *hibanav1.FunctionResult_Typed:
		values := []shownValue{}
		for _, value := range form.Typed.Values {
			values = append(values, showValue(value))
		}
		return values, nil
	case *hibanav1.FunctionResult_Json:
		return nil, form.Json.AsSlice()
	default:
		return nil, nil
	}
}
