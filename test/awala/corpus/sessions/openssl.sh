#!/bin/sh
# Writes messages with the OpenSSL command line, to standard output, one JSON object a line. See README.md.
#
# OpenSSL's command line adds no unprotected attributes and no user keying material, and does not name the curve of its
# own key: the tests put the sender's key id in.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

message() { # container curve kdf wrap cipher octets option
  node -e 'process.stdout.write(Buffer.from(Array.from({ length: +process.argv[1] }, (_, at) => at % 251)))' "$6" >"$work/plaintext"
  openssl cms -encrypt -binary -in "$work/plaintext" -outform DER "$7" -keyid "-$5" -wrap "$4" \
    -recip "$work/$2.crt" -keyopt "ecdh_kdf_md:$3" -out "$work/message"
  printf '{"container":"%s","curve":"%s","keyDerivation":"%s","keyWrap":"%s","cipher":"%s",' "$1" "$2" "$3" "$4" "$5"
  printf '"ukmOctets":0,"plaintextOctets":%s,"message":"%s"}\n' "$6" "$(base64 -w 0 "$work/message")"
}

for curve in P-256 P-384 P-521; do
  openssl req -new -x509 -key "keys/$curve.pem" -subj "/CN=$curve" -days 1 -out "$work/$curve.crt"
  octets=0
  for kdf in sha256 sha384 sha512; do
    for bits in 128 192 256; do
      octets=$((octets + 7))
      message EnvelopedData "$curve" "$kdf" "aes$bits-wrap" "aes-$bits-cbc" "$octets" -noindef
      message AuthEnvelopedData "$curve" "$kdf" "aes$bits-wrap" "aes-$bits-gcm" "$octets" -noindef
    done
  done
done
# Indefinite lengths, content in segments.
message EnvelopedData P-256 sha256 aes128-wrap aes-128-cbc 10000 -indef
message AuthEnvelopedData P-256 sha256 aes128-wrap aes-256-gcm 10000 -indef
