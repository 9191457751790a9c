//go:build !linux

package capture

import (
	"errors"
	"runtime"
)

func openSocket(string, []uint16) (source, error) {
	return nil, errors.New("reading packets is not supported on " + runtime.GOOS)
}
