package reports

import (
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// backendText is product, version and, of a container, the image.
func backendText(b result.Backend) string {
	text := strings.TrimSpace(b.Product + " " + b.Version)
	if image := imageText(b); image != "" {
		text += ", " + image
	}
	return text
}

// imageText is an image and as much of its digest as tells it from others; report.json has the whole.
func imageText(b result.Backend) string {
	const shown = 12
	if b.Image == "" || strings.Contains(b.Image, "@") {
		return b.Image
	}
	algorithm, sum, ok := strings.Cut(b.ImageDigest, ":")
	if !ok {
		return b.Image
	}
	return b.Image + " " + algorithm + ":" + sum[:min(shown, len(sum))]
}

// driverText is how a backend was run, and how long it took until it answered. What is embedded speaks a protocol and is no product.
func driverText(b result.Backend) string {
	text := b.Driver
	if b.Driver == "embedded" {
		text = "embedded protocol server"
	}
	if b.ReadyMS > 0 {
		text += ", ready in " + duration(int64(b.ReadyMS*1e6))
	}
	return text
}
