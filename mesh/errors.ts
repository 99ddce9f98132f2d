// The one table of error codes. Codes are API: never renamed, never reused. Status is what HTTP answers carry, exit what
// the CLI returns, hint the command or act that mends it. docs/errors.md is generated from this table.

export interface ErrorSpec {
  /** HTTP status (RFC 9110 §15) when the error is answered on a wire. */
  readonly status: number
  /** Exit code of the CLI: 1 failed, 2 usage, 3 configuration, 4 denied, 5 unreachable, 70 bug. */
  readonly exit: 1 | 2 | 3 | 4 | 5 | 70
  /** True when the same request may succeed later without anybody changing anything. */
  readonly retryable: boolean
  /** One sentence for docs/errors.md: when this is met. */
  readonly when: string
  /** What to do or type next. `troth` stands for however the user called us. */
  readonly hint: string
}

const denied = (when: string, hint: string): ErrorSpec => ({
  status: 403,
  exit: 4,
  retryable: false,
  when,
  hint,
})
const bad = (when: string, hint: string): ErrorSpec => ({
  status: 400,
  exit: 1,
  retryable: false,
  when,
  hint,
})
const config = (when: string, hint: string): ErrorSpec => ({
  status: 500,
  exit: 3,
  retryable: false,
  when,
  hint,
})
const missing = (when: string, hint: string): ErrorSpec => ({
  status: 404,
  exit: 1,
  retryable: false,
  when,
  hint,
})
const conflict = (when: string, hint: string): ErrorSpec => ({
  status: 409,
  exit: 1,
  retryable: false,
  when,
  hint,
})
const unreachable = (when: string, hint: string): ErrorSpec => ({
  status: 502,
  exit: 5,
  retryable: true,
  when,
  hint,
})
const unavailable = (when: string, hint: string): ErrorSpec => ({
  status: 503,
  exit: 5,
  retryable: true,
  when,
  hint,
})

export const ERRORS = {
  // usage and configuration
  USAGE: {
    status: 400,
    exit: 2,
    retryable: false,
    when: 'the command line is not understood',
    hint: 'see troth --help',
  },
  CONFIG_INVALID: config('a configuration value is malformed', 'correct the named key in the named file'),
  CONFIG_MISSING: config(
    'a file or directory that the program needs is not there',
    'run troth init first, or name the right place with --home',
  ),
  CONFIG_EXISTS: config('init found a CA in this home', 'use another --home, or remove the old one yourself'),
  PASSPHRASE_MISSING: config(
    'a CA key needs its passphrase and none was given',
    'give --passphrase-file FILE, or run on a terminal to be asked',
  ),
  PASSPHRASE_WRONG: config(
    'the passphrase does not open the CA key',
    'give the passphrase that troth init was given',
  ),
  DEV_ROOT: config(
    'a development root (TROTH DEV) was met without --dev',
    'add --dev, or use a production root',
  ),
  PORT_BUSY: config(
    'another program listens on the port',
    'stop it, or choose another port with the named flag',
  ),
  SOCKET_PATH_TOO_LONG: config(
    'the path of a Unix socket is longer than the system allows',
    'use a shorter --home',
  ),
  STATE_IN_USE: config(
    'another process holds this state directory',
    'stop the other process, or use another --home or --instance',
  ),
  STATE_UNREADABLE: config(
    'a state file cannot be read or is damaged',
    'restore it from a backup; nothing was overwritten',
  ),
  STATE_PERMISSIONS: config('a secret file can be read by other users', 'run chmod 600 on the named file'),

  // words
  SPIFFE_ID_INVALID: bad(
    'a SPIFFE ID breaks the rules of SPIFFE-ID §2',
    'use spiffe://<trust domain>/agent/<name>',
  ),
  AGENT_NAME_INVALID: bad(
    'an agent name is not one lower-case DNS label',
    'use letters, digits and hyphens, at most 63, no hyphen at either end',
  ),
  TRUST_DOMAIN_INVALID: bad('a trust domain is not a lower-case DNS name', 'use a name like acme.internal'),
  WIRE_MALFORMED: bad('a message is not of the agreed shape', 'run the same release of troth on both sides'),
  WIRE_TOO_LARGE: {
    status: 413,
    exit: 1,
    retryable: false,
    when: 'a message is larger than its limit',
    hint: 'send less at once',
  },
  WIRE_VERSION: bad(
    'the other side speaks another version of the protocol',
    'run the same release of troth on both sides',
  ),
  NOT_FOUND: missing('the path does not exist on this server', 'see docs/wire.md for the paths'),
  METHOD_NOT_ALLOWED: {
    status: 405,
    exit: 1,
    retryable: false,
    when: 'the path does not take this method',
    hint: 'see docs/wire.md',
  },

  // tokens, CSRs, issuance
  JOIN_TOKEN_INVALID: {
    status: 401,
    exit: 4,
    retryable: false,
    when: 'the join token is malformed or unknown',
    hint: 'mint one: troth token NAME',
  },
  JOIN_TOKEN_SPENT: {
    status: 409,
    exit: 4,
    retryable: false,
    when: 'the join token was used already',
    hint: 'mint a new one: troth token NAME',
  },
  JOIN_TOKEN_EXPIRED: {
    status: 401,
    exit: 4,
    retryable: false,
    when: 'the join token is older than its ten minutes',
    hint: 'mint a new one: troth token NAME',
  },
  JOIN_TOKEN_OTHER_NAME: {
    status: 403,
    exit: 4,
    retryable: false,
    when: 'the join token was minted for another name',
    hint: 'mint one for this name: troth token NAME',
  },
  JOIN_TOKEN_TRIES: {
    status: 429,
    exit: 4,
    retryable: true,
    when: 'too many enrolments from one address failed within a minute',
    hint: 'wait a minute, then try with a fresh token: troth token NAME',
  },
  NOT_ENROLLED: config(
    'a member has no certificate, no token was given, and no CA runs in its home',
    "on the CA's host: troth token NAME --line, then paste what it prints here",
  ),
  SIDECAR_UNREADY: unavailable(
    'a sidecar did not become ready within 30 seconds of its start',
    'see what it names: usually the CA is down, troth up starts it',
  ),
  CA_FINGERPRINT_MISMATCH: {
    status: 403,
    exit: 4,
    retryable: false,
    when: 'the server at the CA address has another root than the token names',
    hint: 'mint a new token on the CA host; if it happens again somebody is in between',
  },
  CA_IDENTITY_WRONG: {
    status: 403,
    exit: 4,
    retryable: false,
    when: "the server at the CA address is not this mesh's CA",
    hint: 'check the address: troth token NAME prints the right one',
  },
  CA_ROOT_UNKNOWN: denied(
    'the CA has a root that this member does not know: it was replaced while the member was away, or another CA answers there',
    "enrol again, if that CA is yours; on the CA's host: troth token NAME --line",
  ),
  CA_ADDRESS_LOOPBACK: unreachable(
    'a token carries a loopback CA address and no CA answers there',
    'on the CA host: troth ca address HOST, restart it, mint a new token',
  ),
  CA_UNREACHABLE: unreachable('the CA does not answer', 'start it: troth up'),
  CA_ADMIN_UNREACHABLE: unreachable(
    'no CA runs in this home',
    'start it: troth up, or become an operator here: troth operator enrol NAME',
  ),
  OPERATOR_AMBIGUOUS: config(
    'several operators are enrolled in this home, and none was named',
    'name one: --as NAME',
  ),
  ADMIN_LOCAL_ONLY: denied(
    "an operator asked over the network for what only the CA's own OS user may do",
    "run it on the CA's host, as the user that runs the CA",
  ),
  CLOCK_SKEW: {
    status: 403,
    exit: 1,
    retryable: true,
    when: 'the clocks of the two hosts differ by more than five minutes',
    hint: 'set the clock (timedatectl), then try again',
  },
  CSR_INVALID: bad(
    'the certificate request is malformed or its signature does not verify',
    'let troth make the request, or make a new one: openssl req -new -key KEY.pem -subj / -out REQUEST.pem',
  ),
  CSR_KEY_UNSUPPORTED: bad(
    'the key of the certificate request is of a kind the CA does not sign',
    'make an ECDSA P-256 key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem',
  ),
  CSR_NOT_ALLOWED: bad(
    'the certificate request asks for something the CA does not grant',
    'request a plain certificate, the CA sets every field itself: openssl req -new -key KEY.pem -subj / -out REQUEST.pem',
  ),
  ISSUE_CHECK_FAILED: {
    status: 500,
    exit: 70,
    retryable: false,
    when: 'a certificate just signed did not pass the check',
    hint: 'report this as a bug; nothing was handed out',
  },
  CA_KEY_EXISTS: conflict(
    'a key of the CA was to be made where there is one already',
    'see troth ca status; nothing was overwritten',
  ),
  CA_KEY_MISSING: config(
    'the key of an issuing CA is not where it was',
    'restore it from a backup: troth ca restore FILE',
  ),
  ROOT_KEY_ABSENT: config(
    "the root's key is needed and is not on this machine",
    'bring it back for this one command: --root-key FILE',
  ),
  PKCS11_UNAVAILABLE: config(
    'keys live on a PKCS#11 token, and the optional library pkcs11js is not installed',
    'install a compiler (g++, make, python3), then: npm install pkcs11js',
  ),
  PKCS11_MODULE_MISSING: config(
    'the PKCS#11 module cannot be loaded',
    'give the path of the shared library of the token: --pkcs11-module PATH',
  ),
  PKCS11_TOKEN_MISSING: config(
    'the PKCS#11 module shows no token of that label, or more than one',
    "plug it in, or see its label with the token's own tool (softhsm2-util --show-slots)",
  ),
  PKCS11_PIN_WRONG: config(
    'the token refused the PIN; it was tried once',
    'correct the PIN where it is kept before the next start: a token locks after a few',
  ),
  PKCS11_PIN_LOCKED: config(
    'the token is locked, or one wrong PIN away from it',
    "unlock it, or log in once, with the token's own tool",
  ),
  PKCS11_FAILED: {
    status: 500,
    exit: 1,
    retryable: true,
    when: 'the token failed at something it was asked for',
    hint: 'see that it is plugged in and answers its own tool',
  },
  CA_RESTORED: {
    status: 503,
    exit: 4,
    retryable: true,
    when: 'the CA was restored from a backup and does not know yet what was revoked since: it issues nothing',
    hint: 'see who is missing: troth ca recovery; go on without them: troth ca recovery --confirm',
  },
  CA_NOT_RESTORED: conflict(
    'there is nothing to confirm: the CA does not wait for revocations',
    'see troth ca status',
  ),
  BACKUP_EXISTS: config(
    'the file of a new backup exists already',
    'name another file; nothing was overwritten',
  ),
  BACKUP_DAMAGED: config(
    'a backup was changed, cut short, or is no backup',
    'use another copy of it; nothing was restored',
  ),
  BACKUP_VERSION: config('a backup was written by another release', 'restore it with that release'),
  BACKUP_PASSPHRASE_WRONG: config(
    'the passphrase does not open the backup',
    'give the passphrase that troth ca backup was given',
  ),
  RESTORE_OVER_CA: config(
    'a backup was to be restored where there is a CA, serving or not',
    'restore into another home: troth --home DIR ca restore FILE; or move the old CA away yourself',
  ),
  ROOT_KEY_ON_TOKEN: config(
    "the root's key was to be exported, and a token never gives a key away",
    'unplug the token instead; it is needed for a rotation only',
  ),
  CA_EXPIRED: config(
    'the root or the issuing CA is at the end of its life',
    'replace it: troth ca rotate issuing, or troth ca rotate root when the root has ended',
  ),
  CLONE_SUSPECTED: denied(
    'one certificate was used to renew with two different keys',
    'find the copy; then troth revoke NAME and enrol again',
  ),
  RENEW_TOO_OFTEN: {
    status: 429,
    exit: 4,
    retryable: true,
    when: 'one instance asked for more than sixty certificates within an hour',
    hint: 'look into its log; if it is not yours any more, troth revoke NAME',
  },
  ISSUE_TOO_OFTEN: {
    status: 429,
    exit: 4,
    retryable: true,
    when: 'more certificates were issued to one name or one address within a minute than a mesh needs',
    hint: 'wait a minute, then try again; see who asks so often: troth audit query --ca',
  },
  RENEW_SUPERSEDED: denied(
    'the certificate was replaced by a newer one and may not renew again',
    'enrol again: troth token NAME',
  ),
  RENEW_GRACE_OVER: denied(
    'the certificate expired longer ago than the grace time in which its key still renews it',
    'enrol again: troth token NAME',
  ),
  RENEW_PROOF_INVALID: denied(
    'the proof by the key of an expired certificate does not hold for this request',
    'enrol again: troth token NAME',
  ),
  RENEW_NONCE_INVALID: {
    status: 409,
    exit: 1,
    retryable: true,
    when: 'the number that the CA gave for one renewal after expiry was used before, or is too old',
    hint: 'ask again: a sidecar does so by itself',
  },
  AGENT_UNKNOWN: missing('no agent of that name is registered', 'register it: troth agent add NAME'),
  AGENT_EXISTS: conflict('an agent of that name is registered already', 'see troth agent show NAME'),
  AGENT_INSTANCE_TAKEN: conflict(
    'the instance id of an enrolment belongs to another member',
    'remove the copied state directory and enrol again',
  ),
  AGENT_REVOKED: denied(
    'the agent was revoked',
    'if that was a mistake: troth agent restore NAME, then enrol again',
  ),
  AGENT_SUSPENDED: denied('the agent is suspended', 'let it work again: troth agent resume NAME'),
  AGENT_TTL_TOO_SHORT: bad(
    'a certificate life under 15 minutes was asked of a CA that is not for development',
    'use --ttl 15m or more',
  ),
  CRL_NONE: missing(
    'a CA has no revocation list yet: the root of a home that an older release made signs its first at a rotation',
    'troth ca rotate issuing signs the list of the root',
  ),
  CRL_INVALID: bad(
    'a revocation list that was fetched is not one that a root of the mesh signed',
    'see who answers at the CA address; what was known to be revoked stays so',
  ),
  CERT_KEY_MISMATCH: bad(
    'a private key and a certificate that were named together do not belong together',
    'name the key.pem and cert.pem that one troth cert issue wrote',
  ),
  CERT_UNKNOWN: missing('no certificate of that serial was issued', 'see troth cert list'),
  CA_ROTATION_RUNNING: conflict(
    'another rotation of a CA is open; one ends before the next begins',
    'finish it first: see troth ca status',
  ),
  CA_ROTATION_NONE: conflict('there is no rotation at that point to go on with', 'see troth ca status'),
  CA_ROTATION_INVALID: bad(
    'the certificates handed over for a rotation are not those that it needs',
    'run troth ca rotate again: it goes on where it stands',
  ),
  CA_ROTATION_BLOCKED: conflict(
    'the rotation waits for members that have not acknowledged, or not renewed',
    'see troth ca status; to go on without them: add --force',
  ),
  ENDPOINT_NOT_ALLOWED: denied(
    'a sidecar announced an address that is not its own',
    'set it on the CA: troth agent add NAME --address HOST',
  ),

  // judging a peer
  PEER_NO_CERTIFICATE: {
    status: 401,
    exit: 4,
    retryable: false,
    when: 'the peer showed no certificate',
    hint: 'get one: troth cert issue NAME',
  },
  PEER_CHAIN_UNTRUSTED: denied(
    "the peer's chain does not lead to a root of its trust domain",
    'enrol it with this mesh: troth token NAME',
  ),
  PEER_CERT_MALFORMED: denied(
    "the peer's certificate cannot be parsed or breaks RFC 5280",
    'issue it with troth',
  ),
  PEER_CERT_EXPIRED: denied(
    "the peer's certificate has expired",
    'renew it; a sidecar does so by itself when the CA is reachable',
  ),
  PEER_CERT_NOT_YET_VALID: denied("the peer's certificate lies in the future", 'set the clocks'),
  PEER_SAN_INVALID: denied(
    "the peer's certificate has not exactly one valid SPIFFE URI",
    'issue it with troth',
  ),
  PEER_USAGE_INVALID: denied(
    "the peer's certificate lacks the key usages of an X509-SVID",
    'issue it with troth',
  ),
  PEER_KEY_UNSUPPORTED: denied(
    "the peer's key is not ECDSA P-256 or P-384, nor of a kind that foreign clients may have",
    'issue it with troth',
  ),
  PEER_IS_CA: denied('the peer showed a CA certificate as its identity', 'issue a leaf with troth'),
  PEER_TRUST_DOMAIN: denied(
    'the peer belongs to a trust domain that is not trusted here',
    'use a certificate of this mesh',
  ),
  PEER_KIND_WRONG: denied(
    "the peer's identity is of another kind than this door serves",
    'use a certificate of the right kind',
  ),
  PEER_UNEXPECTED: denied(
    'the peer is not the one that was to be called',
    'check the address that the callee advertises',
  ),
  PEER_HANDSHAKE_FAILED: bad(
    'the TLS handshake failed before the peer showed who it is',
    'speak TLS 1.3 with a client certificate: troth cert issue NAME',
  ),
  PEER_REVOKED: denied(
    'the peer was revoked',
    'if that was a mistake: troth agent restore NAME, then enrol again',
  ),
  PEER_FORGED: denied(
    "the certificate bears the issuing CA's signature and a known serial, but is not the one that the CA issued",
    'the issuing key was stolen: troth ca rotate issuing --compromised',
  ),
  PEER_CONNECTIONS_EXCEEDED: unavailable(
    'one caller holds as many connections to this sidecar as it may',
    'keep connections and use them again, or speak HTTP/2',
  ),
  PEER_CALLS_EXCEEDED: unavailable(
    'one caller has as many calls at this sidecar at once as it may',
    'wait for answers before you ask for more',
  ),
  PEER_EXPIRED: denied(
    "the peer's certificate expired while the connection was open",
    'renew it; a sidecar does so by itself when the CA is reachable',
  ),
  SELF_REVOKED: denied(
    "this sidecar's own identity was revoked",
    'if that was a mistake: troth agent restore NAME, then enrol again',
  ),
  SELF_EXPIRED: unavailable(
    "this sidecar's own certificate has expired",
    'make the CA reachable, or enrol again: troth token NAME',
  ),
  FEED_STALE: unavailable(
    'no word from the CA for longer than feed.maxStaleness and feed.onStale is deny',
    'make the CA reachable',
  ),

  // the plaintext doors
  LOCAL_CREDENTIAL_REQUIRED: {
    status: 407,
    exit: 4,
    retryable: false,
    when: 'a request at the local door carried no valid local credential',
    hint: 'use troth run, or send the content of <home>/agents/<name>/local-credential as x-troth-local-credential',
  },
  BROWSER_REFUSED: denied(
    'a request at the local door came from a browser page',
    'call from the agent process itself',
  ),
  LOCAL_HOST_INVALID: denied(
    'the Host of a request at the local door is not this door',
    'use http://127.0.0.1:<port>',
  ),
  NOT_A_MESH_HOST: denied(
    'a host outside .mesh was asked of the egress',
    'use http://<agent>.mesh/ or /@<agent>/',
  ),
  CONNECT_REFUSED: denied(
    'CONNECT was asked of the egress, to the mesh or to a host that egress.tunnels does not name',
    'use http:// URLs for mesh hosts; name others in egress.tunnels of config.yaml',
  ),
  CALLEE_UNKNOWN: missing(
    'the caller holds no grant on an agent of that name, or there is none',
    'see troth can FROM TO METHOD PATH',
  ),
  CALLEE_OFFLINE: unavailable('the callee has no sidecar running', 'start it: troth run NAME'),
  CALLEE_UNREACHABLE: unreachable(
    "no connection to the callee's sidecar",
    "check the callee's sidecar and the address it advertises",
  ),
  CALLEE_REFUSED: {
    status: 502,
    exit: 4,
    retryable: false,
    when: "the callee's sidecar turned the connection away",
    hint: 'see troth audit query --agent CALLEE --suspicious',
  },
  CALLEE_BUSY: unavailable(
    'every stream that the callee allows is taken, and stays taken',
    'try again later, end streams that nobody needs, or run more instances of the callee',
  ),
  CALLEE_TIMEOUT: {
    status: 504,
    exit: 5,
    retryable: true,
    when: 'the callee did not answer in time',
    hint: "try again, or look at the callee's log",
  },
  APP_UNREACHABLE: unreachable(
    'the app behind the sidecar does not answer',
    'start the app, or correct --app',
  ),
  APP_SHARE_EXCEEDED: {
    status: 429,
    exit: 1,
    retryable: true,
    when: "one caller's calls hold as many connections to the app as it may",
    hint: 'send requests and read answers as they come, or make fewer calls at once',
  },
  APP_MISSING: {
    status: 501,
    exit: 1,
    retryable: false,
    when: 'the sidecar runs without an app and serves no calls',
    hint: 'start it with --app HOST:PORT',
  },
  APP_WEBSOCKET_UNSUPPORTED: {
    status: 501,
    exit: 1,
    retryable: false,
    when: 'a WebSocket is for an app of HTTP/2 that knows no extended CONNECT (RFC 8441)',
    hint: 'have the app enable it, or serve HTTP/1.1 and name it as --app HOST:PORT',
  },
  APP_RESPONSE_INVALID: {
    status: 502,
    exit: 1,
    retryable: false,
    when: 'the app answered with malformed HTTP',
    hint: "see the app's log",
  },

  // calls
  CALL_MALFORMED: bad('the request is not well-formed HTTP', 'send a well-formed request'),
  CALL_PATH_REFUSED: bad(
    'the path holds something two readers could read differently',
    'send a plain path: no .. // \\ # %2f %5c %2e or control characters',
  ),
  CALL_VERSION_UNSUPPORTED: {
    status: 505,
    exit: 1,
    retryable: false,
    when: 'the request is of another HTTP version than 1.0 or 1.1',
    hint: 'send HTTP/1.1',
  },
  CALL_CODING_UNSUPPORTED: {
    status: 501,
    exit: 1,
    retryable: false,
    when: 'the request body has another transfer coding than chunked',
    hint: 'send Content-Length or Transfer-Encoding: chunked',
  },
  CALL_HEAD_TOO_LARGE: {
    status: 431,
    exit: 1,
    retryable: false,
    when: 'the request head is larger than 64 KiB',
    hint: 'send fewer or shorter headers',
  },
  CALL_BODY_TOO_LARGE: {
    status: 413,
    exit: 1,
    retryable: false,
    when: 'the request body is larger than body.max',
    hint: 'send less, or raise body.max on the callee',
  },
  CALL_ID_INVALID: bad('the troth-call header is malformed or was used before', 'let the sidecar set it'),
  CALL_UPGRADE_REFUSED: {
    status: 501,
    exit: 1,
    retryable: false,
    when: 'the request asks for a protocol upgrade that is not served',
    hint: 'send a plain request',
  },
  CALL_TIMEOUT: {
    status: 408,
    exit: 1,
    retryable: true,
    when: 'the request did not arrive in time',
    hint: 'send it at once',
  },
  CALL_UNREAD: {
    status: 429,
    exit: 1,
    retryable: true,
    when: 'the caller leaves too much of its answers unread, or one of them for too long',
    hint: 'read answers as they come, or ask for fewer at once',
  },
  CALL_CUT: unavailable('the call was cut while it ran', 'see troth why CALL_ID'),

  HTTP1_CONNECTION_LOST: unreachable(
    'an HTTP/1.1 connection ended before both messages were whole',
    'send the request again when it is safe to',
  ),
  HTTP2_PROTOCOL: bad('a peer broke a rule of HTTP/2', 'look at the HTTP/2 implementation of the peer'),
  HTTP2_FLOOD: {
    status: 429,
    exit: 1,
    retryable: false,
    when: 'a peer sent more of what brings no call forward than a connection bears',
    hint: 'find out what the peer is doing',
  },
  HTTP2_STREAM_REFUSED: unavailable(
    'a peer turned a request away before looking at it',
    'send it again on another connection',
  ),
  HTTP2_STREAM_RESET: unreachable('a peer ended a stream before its end', 'look into the log of the peer'),
  HTTP2_CONNECTION_LOST: unreachable(
    'an HTTP/2 connection ended while streams were open',
    'send the request again when it is safe to',
  ),
  POLICY_NO_SERVICE: denied(
    'the policy says nothing of the callee',
    'add the service to policy.yaml, then troth policy push',
  ),
  POLICY_NO_OPERATION: denied(
    "no operation of the callee's policy matches",
    'add the operation to policy.yaml, then troth policy push',
  ),
  POLICY_SCOPE_MISSING: denied(
    'the caller does not hold the scope that the operation needs',
    'grant it in policy.yaml, then troth policy push',
  ),
  POLICY_MALFORMED: {
    status: 400,
    exit: 3,
    retryable: false,
    when: 'the policy document breaks its schema',
    hint: 'correct the named line; the policy in force is unchanged',
  },
  POLICY_NONE: missing('no policy was pushed yet', 'push one: troth policy push policy.yaml'),
  DRAINING: unavailable('the sidecar is shutting down', 'try again'),

  // ledger
  AUDIT_UNAVAILABLE: unavailable(
    'the ledger cannot be written',
    'free disk space; or set audit.onFailure: allow',
  ),
  AUDIT_SEQUENCE: conflict(
    'shipped records do not continue the ledger the collector has',
    'the shipper resumes by itself',
  ),
  AUDIT_FOREIGN: denied('a ledger was shipped by another agent than before', 'look into who holds the key'),
  COLLECTOR_UNREACHABLE: unreachable('the collector does not answer', 'start it: troth up'),
  COLLECTOR_BUSY: unavailable(
    'the collector is taking as many shipments as it may at once',
    'nothing: the shipper tries again by itself',
  ),
  AUDIT_LIMIT: denied(
    'an agent has begun more ledgers than the collector takes from one',
    'find out why its state directory was made anew so often',
  ),
  AUDIT_RECORD_INVALID: bad(
    'a shipped record does not decode',
    'run the same release of troth on both sides',
  ),
  CALL_UNKNOWN: missing('no ledger here holds that call', 'see troth audit query'),
  LEDGER_MISSING: missing('there is no ledger at that place', 'name one with --ledger FILE'),

  COMMAND_FAILED: {
    status: 500,
    exit: 1,
    retryable: false,
    when: 'a child process could not be started',
    hint: 'check the command',
  },
  DEMO_FAILED: {
    status: 500,
    exit: 1,
    retryable: false,
    when: 'a step of troth demo did not show what it should',
    hint: 'read what its processes said, above',
  },
  INTERNAL: {
    status: 500,
    exit: 70,
    retryable: false,
    when: 'a bug in troth',
    hint: 'report it, with the log',
  },
} as const satisfies Record<string, ErrorSpec>

export type MeshErrorCode = keyof typeof ERRORS

export interface MeshErrorOptions {
  readonly cause?: unknown
  readonly hint?: string
  readonly retryAfterMs?: number
}

/**
 * An operational failure with a stable code.
 *
 * The message is lower case, names the thing, and never holds a key, a token or a header value.
 */
export class MeshError extends Error {
  readonly code: MeshErrorCode
  /** Overrides the table's hint where the site knows the exact command. */
  readonly hint: string
  /** When the same request may succeed, where that is known; whole seconds, at least one (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds: number | null

  constructor(code: MeshErrorCode, message: string, options: MeshErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'MeshError'
    this.code = code
    this.hint = options.hint ?? ERRORS[code].hint
    this.retryAfterSeconds =
      options.retryAfterMs === undefined ? null : Math.max(1, Math.ceil(options.retryAfterMs / 1000))
  }

  get spec(): ErrorSpec {
    return ERRORS[this.code]
  }
}

/** True for a MeshError, of that code when one is given. */
export function isMeshError(error: unknown, code?: MeshErrorCode): error is MeshError {
  return error instanceof MeshError && (code === undefined || error.code === code)
}

/** The error as a MeshError: itself, or INTERNAL with the original as its cause. For doors only. */
export function asMeshError(error: unknown): MeshError {
  return error instanceof MeshError ? error : new MeshError('INTERNAL', 'internal error', { cause: error })
}
