package near

import "testing"

func TestWord(t *testing.T) {
	known := []string{"terminate", "passthrough", "websocket"}
	for got, want := range map[string]string{
		"terminat": "terminate", "Websocket": "websocket", "pasthrough": "passthrough", "alpn": "", "terminate": "", "": "",
	} {
		if w := Word(got, known); w != want {
			t.Errorf("Word(%q) = %q, want %q", got, w, want)
		}
	}
}
