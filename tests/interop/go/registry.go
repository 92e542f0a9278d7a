package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	hibanav1 "example.com/interop/gen/hibana/v1"
)

// uploadInput is the input of the calls that store a module.
type uploadInput struct {
	Guest, Name, Version, Description string
	Labels                            map[string]string
	ChunkBytes                        int  `json:"chunk_bytes"`
	ValidateOnly                      bool `json:"validate_only"`
	DeadlineMs                        int  `json:"deadline_ms"`
}

// upload stores a module from a stream: the header, then chunks.
func (c *client) upload(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input uploadInput
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	wasm, err := os.ReadFile(filepath.Join(c.guests, input.Guest+".wasm"))
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(wasm)
	header := &hibanav1.UploadHeader{
		ModuleName: input.Name,
		Version:    input.Version,
		Sha256:     hex.EncodeToString(digest[:]),
		SizeBytes:  int64(len(wasm)),
	}
	if input.Description != "" {
		header.Module = &hibanav1.ModuleSpec{Description: input.Description, Labels: input.Labels}
	}
	stream, err := as.registry.UploadModule(ctx)
	if err != nil {
		return nil, err
	}
	messages := []*hibanav1.UploadModuleRequest{{Message: &hibanav1.UploadModuleRequest_Header{Header: header}}}
	for chunk := range slices.Chunk(wasm, input.ChunkBytes) {
		messages = append(messages, &hibanav1.UploadModuleRequest{
			Message: &hibanav1.UploadModuleRequest_Chunk{Chunk: chunk},
		})
	}
	for _, message := range messages {
		// The service may refuse an upload before its end; what it says comes with the answer.
		if err := stream.Send(message); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	return showStored(answer), nil
}

// stored is what both kinds of upload answer.
type stored interface {
	GetExisted() bool
	GetModule() *hibanav1.Module
	GetVersion() *hibanav1.ModuleVersion
}

func showStored(answer stored) line {
	return line{
		"existed": answer.GetExisted(),
		"module":  showModule(answer.GetModule()),
		"version": showVersion(answer.GetVersion()),
	}
}

// uploadUnfinished sends a header and nothing more, until its deadline has passed.
func uploadUnfinished(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input uploadInput
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(input.DeadlineMs)*time.Millisecond)
	defer cancel()
	stream, err := as.registry.UploadModule(ctx)
	if err != nil {
		return nil, err
	}
	header := &hibanav1.UploadHeader{ModuleName: input.Name, Version: input.Version}
	err = stream.Send(&hibanav1.UploadModuleRequest{Message: &hibanav1.UploadModuleRequest_Header{Header: header}})
	if err != nil {
		return nil, err
	}
	// CloseAndRecv would end the upload.
	return line{}, stream.RecvMsg(new(hibanav1.UploadModuleResponse))
}

// create stores or inspects a module that comes in one message.
func (c *client) create(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input uploadInput
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	wasm, err := os.ReadFile(filepath.Join(c.guests, input.Guest+".wasm"))
	if err != nil {
		return nil, err
	}
	answer, err := as.registry.CreateModule(ctx, &hibanav1.CreateModuleRequest{
		Header: &hibanav1.UploadHeader{
			ModuleName:   input.Name,
			Version:      input.Version,
			ValidateOnly: input.ValidateOnly,
		},
		Wasm: wasm,
	})
	if err != nil {
		return nil, err
	}
	return showStored(answer), nil
}

// listModules fetches one page after the other.
func listModules(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input struct {
		PageSize int32 `json:"page_size"`
	}
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	pages, totals := [][]string{}, []string{}
	request := &hibanav1.ListModulesRequest{PageSize: input.PageSize}
	for {
		answer, err := as.registry.ListModules(ctx, request)
		if err != nil {
			return nil, err
		}
		names := []string{}
		for _, module := range answer.Modules {
			names = append(names, module.ModuleName)
		}
		pages, totals = append(pages, names), append(totals, strconv.FormatInt(answer.TotalSize, 10))
		if answer.NextPageToken == "" {
			return line{"pages": pages, "total_sizes": totals}, nil
		}
		request.PageToken = answer.NextPageToken
	}
}

func getModule(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input struct{ Module string }
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	answer, err := as.registry.GetModule(ctx, &hibanav1.GetModuleRequest{Module: input.Module})
	if err != nil {
		return nil, err
	}
	return line{"module": showModule(answer.Module)}, nil
}

func updateModule(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input struct{ Module, Etag, Description string }
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	answer, err := as.registry.UpdateModule(ctx, &hibanav1.UpdateModuleRequest{
		Module:     &hibanav1.Module{Name: input.Module, Etag: input.Etag, Description: input.Description},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description"}},
	})
	if err != nil {
		return nil, err
	}
	return line{"module": showModule(answer.Module)}, nil
}

// download reads a version's bytes; the first message tells which version they are of.
func download(ctx context.Context, as *caller, text json.RawMessage) (line, error) {
	var input struct{ Version string }
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	stream, err := as.registry.DownloadModule(ctx, &hibanav1.DownloadModuleRequest{Version: input.Version})
	if err != nil {
		return nil, err
	}
	var version *hibanav1.ModuleVersion
	var wasm bytes.Buffer
	for {
		part, err := stream.Recv()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if part.Version != nil {
			version = part.Version
		}
		wasm.Write(part.Chunk)
	}
	digest := sha256.Sum256(wasm.Bytes())
	return line{
		"version": showVersion(version),
		"sha256":  hex.EncodeToString(digest[:]),
		"size":    strconv.Itoa(wasm.Len()),
	}, nil
}
