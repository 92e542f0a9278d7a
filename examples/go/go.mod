module totals

go 1.21
