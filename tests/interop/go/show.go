package main

import (
	"strconv"

	hibanav1 "example.com/interop/gen/hibana/v1"
)

// moment is a time or a span of time.
type moment interface {
	GetSeconds() int64
	GetNanos() int32
}

func showMoment(at moment) line {
	return line{"seconds": strconv.FormatInt(at.GetSeconds(), 10), "nanos": at.GetNanos()}
}

// orEmpty shows a map or list that is not there as an empty one, as the wire does not tell them apart.
func orEmpty(entries map[string]string) map[string]string {
	if entries == nil {
		return map[string]string{}
	}
	return entries
}

func listOrEmpty(items []string) []string {
	return append([]string{}, items...)
}

func showModule(it *hibanav1.Module) line {
	saw := line{
		"name":         it.Name,
		"uid":          it.Uid,
		"tier":         it.Tier.String(),
		"owner":        it.Owner,
		"module_name":  it.ModuleName,
		"reference":    it.Reference,
		"description":  it.Description,
		"status":       it.Status.String(),
		"is_public":    it.IsPublic,
		"labels":       orEmpty(it.Labels),
		"live_version": it.LiveVersion,
		"etag":         it.Etag,
		"create_time":  nil,
	}
	if it.CreateTime != nil {
		saw["create_time"] = showMoment(it.CreateTime)
	}
	return saw
}

func showVersion(it *hibanav1.ModuleVersion) line {
	exports, imports, findings := []line{}, []line{}, []line{}
	for _, each := range it.Exports {
		parameters := [][]string{}
		for _, parameter := range each.Parameters {
			parameters = append(parameters, []string{parameter.Name, parameter.Type})
		}
		exports = append(exports, line{
			"name": each.Name, "parameters": parameters, "results": listOrEmpty(each.Results), "callable": each.Callable,
		})
	}
	for _, each := range it.Imports {
		imports = append(imports, line{
			"module": each.Module, "name": each.Name, "kind": each.Kind, "type": each.Type, "granted": each.Granted,
		})
	}
	for _, each := range it.Findings {
		findings = append(findings, showFinding(each))
	}
	saw := line{
		"name":             it.Name,
		"version":          it.Version,
		"sha256":           it.Sha256,
		"wasm_size_bytes":  strconv.FormatInt(it.WasmSizeBytes, 10),
		"convention":       it.Convention.String(),
		"exports":          exports,
		"imports":          imports,
		"memory_pages":     strconv.FormatInt(it.MemoryPages, 10),
		"max_memory_pages": nil,
		"findings":         findings,
		"runnable":         it.Runnable,
		"published":        it.Published,
		"creator":          it.Creator,
	}
	if it.MaxMemoryPages != nil {
		saw["max_memory_pages"] = strconv.FormatInt(*it.MaxMemoryPages, 10)
	}
	return saw
}

func showFinding(it *hibanav1.Finding) line {
	return line{"severity": it.Severity.String(), "code": it.Code, "text": it.Text, "fix": it.Fix}
}

// showFailure returns nil for a guest that did not fail.
func showFailure(it *hibanav1.Failure) any {
	if it == nil {
		return nil
	}
	return line{
		"code": it.Code, "message": it.Message, "exit_code": it.ExitCode, "backtrace": listOrEmpty(it.Backtrace),
	}
}

func showLimits(it *hibanav1.EffectiveLimits) line {
	return line{
		"memory_bytes": strconv.FormatInt(it.MemoryBytes, 10),
		"timeout":      showMoment(it.Timeout),
		"output_bytes": strconv.FormatInt(it.OutputBytes, 10),
	}
}

func showRecord(it *hibanav1.Execution) line {
	return line{
		"name":        it.Name,
		"module":      it.Module,
		"version":     it.Version,
		"caller":      it.Caller,
		"function":    it.Function,
		"state":       it.State.String(),
		"outcome":     it.Outcome.String(),
		"failure":     showFailure(it.Failure),
		"create_time": showMoment(it.CreateTime),
	}
}
