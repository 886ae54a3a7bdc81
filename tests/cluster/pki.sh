# Certificates of a test bed: functions that write into the directory $pki; sourced.
# They are good for a month: no bed lives longer.

days=30

# pki_key NAME
pki_key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"
}

# The authority that signs all others, and the key pair that signs the tokens of ServiceAccounts.
pki_authority() {
  mkdir -p "$pki"
  chmod 700 "$pki"
  pki_key ca
  openssl req -x509 -new -key "$pki/ca.key" -subj /CN=test-bed -days $days -out "$pki/ca.crt"
  pki_key tokens
  openssl ec -in "$pki/tokens.key" -pubout -out "$pki/tokens.pub" 2>/dev/null
}

# pki_certificate NAME SUBJECT [SUBJECT_ALTERNATIVE_NAMES]
pki_certificate() {
  local extensions=$'keyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth'
  [ -z "${3:-}" ] || extensions+=$'\n'subjectAltName=$3
  pki_key "$1"
  openssl req -new -key "$pki/$1.key" -subj "$2" |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days $days \
      -extfile <(echo "$extensions") -out "$pki/$1.crt" 2>/dev/null
}

# pki_kubeconfig NAME SUBJECT URL: a certificate of a client, and a kubeconfig that needs no other file.
pki_kubeconfig() {
  pki_certificate "$1" "$2"
  cat >"$pki/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: bed
contexts:
- {name: bed, context: {cluster: bed, user: $1}}
clusters:
- {name: bed, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}
users:
- {name: $1, user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}}
END
}
