// The witness: a mutual-TLS connection between two sidecars that carries no call. It shows the certificates that both ends use now, so
// that calls on older connections of the same two instances outlive the leaf they began under.

/** ALPN protocol of a witness connection. */
export const WITNESS_ALPN = 'troth.witness.v1'

/** All that is ever said on it: by the callee's sidecar, when it has admitted the caller. */
export const WITNESS_ADMITTED = 'ok\n'
