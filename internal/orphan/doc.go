// Package orphan ends the processes that a generation leaves behind where no
// cgroup holds them together, and reaps those that are given to this process.
package orphan
