// Command client runs the script of tests/interop against a server and prints what it decoded, one JSON line a step.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	hibanav1 "example.com/interop/gen/hibana/v1"
)

// line is what a step prints.
type line = map[string]any

// caller is who a step speaks for: a connection and a token.
type caller struct {
	registry hibanav1.ModuleRegistryClient
	executor hibanav1.ExecutorClient
	token    string
}

// client has everything that steps need.
type client struct {
	callers map[string]*caller
	guests  string
}

// step is one entry of the script.
type step struct {
	Step  string
	Call  string
	Input json.RawMessage
}

func main() {
	log.SetFlags(0)
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var steps []step
	if err := json.Unmarshal(text, &steps); err != nil {
		log.Fatal(err)
	}
	address, token := os.Getenv("HIBANA_ADDRESS"), os.Getenv("HIBANA_TOKEN")
	c := &client{
		guests: os.Getenv("HIBANA_GUESTS"),
		callers: map[string]*caller{
			"user":      connect(address, token),
			"nobody":    connect(address, ""),
			"latecomer": connect(os.Getenv("HIBANA_FULL_ADDRESS"), os.Getenv("HIBANA_FULL_TOKEN")),
		},
	}
	out := json.NewEncoder(os.Stdout)
	for _, s := range steps {
		saw, err := c.run(s)
		if err != nil {
			log.Fatalf("%s: %v", s.Step, err)
		}
		if err := out.Encode(line{"step": s.Step, "saw": saw}); err != nil {
			log.Fatal(err)
		}
	}
}

// connect opens a connection; an empty token sends none.
func connect(address, token string) *caller {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	return &caller{
		registry: hibanav1.NewModuleRegistryClient(connection),
		executor: hibanav1.NewExecutorClient(connection),
		token:    token,
	}
}

// authorized adds the token to what a call sends.
func (c *caller) authorized(ctx context.Context) context.Context {
	if c.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token)
}

// run makes the call of a step. A refusal of the service is something to print, any other error ends the program.
func (c *client) run(s step) (line, error) {
	if s.Call == "decode" {
		return decodeStep(s.Input)
	}
	calls := map[string]func(context.Context, *caller, json.RawMessage) (line, error){
		"upload":            c.upload,
		"upload-unfinished": uploadUnfinished,
		"create":            c.create,
		"list-modules":      listModules,
		"get-module":        getModule,
		"update-module":     updateModule,
		"download":          download,
		"invoke":            invoke,
		"execute":           execute,
		"cancel":            cancelExecution,
		"list-executions":   listExecutions,
	}
	call, known := calls[s.Call]
	if !known {
		return nil, fmt.Errorf("no such call: %s", s.Call)
	}
	input := struct{ As string }{As: "user"}
	if err := json.Unmarshal(s.Input, &input); err != nil {
		return nil, err
	}
	speaker := c.callers[input.As]
	saw, err := call(speaker.authorized(context.Background()), speaker, s.Input)
	if err == nil {
		return saw, nil
	}
	if refused, is := status.FromError(err); is {
		return line{"status": showRefusal(refused)}, nil
	}
	return nil, err
}
