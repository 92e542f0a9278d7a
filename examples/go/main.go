// Program totals reads orders from stdin, one JSON object after the other, and writes what each customer has spent.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
)

type order struct {
	Customer string `json:"customer"`
	Item     string `json:"item"`
	Cents    int64  `json:"cents"`
}

type total struct {
	Customer string   `json:"customer"`
	Items    []string `json:"items"`
	Cents    int64    `json:"cents"`
}

func main() {
	least := flag.Int64("least", 0, "leave out customers who spent fewer cents")
	flag.Parse()
	totals, err := add(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "totals:", err)
		os.Exit(1)
	}
	out := json.NewEncoder(os.Stdout)
	for _, customer := range totals {
		if customer.Cents >= *least {
			out.Encode(customer)
		}
	}
}

// add reads orders until their end and returns one total for each customer, the largest first.
func add(in io.Reader) ([]*total, error) {
	found := map[string]*total{}
	orders := json.NewDecoder(in)
	for number := 1; ; number++ {
		var next order
		if err := orders.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("order %d: %w", number, err)
		}
		if found[next.Customer] == nil {
			found[next.Customer] = &total{Customer: next.Customer}
		}
		found[next.Customer].Items = append(found[next.Customer].Items, next.Item)
		found[next.Customer].Cents += next.Cents
	}
	var totals []*total
	for _, customer := range found {
		totals = append(totals, customer)
	}
	sort.Slice(totals, func(a, b int) bool { return totals[a].Cents > totals[b].Cents })
	return totals, nil
}
