package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// signatureHeader is where a delivery's signature is: "t=1790000000,v1=HEX", the time in seconds
// since 1970, and for each secret an HMAC-SHA256 over that time as it is written, a dot and
// the body.
const signatureHeader = "Freeim-Signature"

func sign(secrets [][]byte, at time.Time, body []byte) string {
	var out strings.Builder
	stamp := strconv.FormatInt(at.Unix(), 10)
	out.WriteString("t=" + stamp)
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(stamp + "."))
		mac.Write(body)
		out.WriteString(",v1=" + hex.EncodeToString(mac.Sum(nil)))
	}
	return out.String()
}
