package health

// String tells the finding in words.
func (f Finding) String() string { return string(f.Reason) }

// Error is String.
func (f Finding) Error() string { return f.String() }
