package service_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"example.com/supervisor/service"
)

// A web server that is upgraded without a failed request. Without a supervisor
// it opens the listener itself and runs until SIGTERM or SIGINT.
func Example() {
	svc, err := service.Join(service.Config{Listen: []string{"http=tcp://127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir("."))}
	if err := svc.ServeHTTP("http", server); err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 50*time.Millisecond) // a real one: context.Background()
	defer stop()
	fmt.Println("ended:", svc.Run(ctx))
	// Output: ended: <nil>
}
