// Enrolment: a member's first identity, by a join token over the network or as the CA's own OS user over its admin socket. The key is
// made and saved here first; the token leaves only after the CA's root, path and identity were checked.

import { randomUUID } from 'node:crypto'
import type { Clock } from '../../host/clock.js'
import type { Log } from '../../host/log.js'
import { MeshError } from '../../mesh/errors.js'
import { revocationsOf } from '../../mesh/revocation.js'
import { type AgentName, type NamedKind, namedId } from '../../mesh/spiffe-id.js'
import { bundlePem, checkNoDevRoot, parseTrustBundle } from '../../mesh/trust-bundle.js'
import { type Enrolment, type JoinToken, parseJoinToken } from '../../mesh/wire/enrolment.js'
import type { StateDir } from '../state-dir.js'
import { parseCaAddress, postEnrol, postEnrolLocal } from './ca-client.js'
import { makeCsr, makeKey } from './csr.js'
import { fetchPinnedRoot } from './pinned-root.js'
import { commitIdentity, proveIdentity, type StoredIdentity } from './stored-identity.js'

export interface Enrolling {
  readonly state: StateDir
  readonly kind: NamedKind
  readonly name: AgentName
  readonly by: { readonly token: string } | { readonly adminSocket: string }
  readonly dev: boolean
  readonly clock: Clock
  readonly log: Log
}

interface Request {
  readonly instanceId: string
  readonly csrPem: string
}

/** Beyond this the leaf's dates cannot be relied on. */
const MAX_SKEW_MS = 5 * 60_000

/**
 * Gets an identity and saves it. When only the clocks disagree it is saved all the same: the next start finds it.
 *
 * @throws MeshError JOIN_TOKEN_* | CA_* | CLOCK_SKEW | DEV_ROOT | AGENT_* | WIRE_MALFORMED
 */
export async function enrol(enrolling: Enrolling): Promise<StoredIdentity> {
  const { state, kind, name, by, clock, log } = enrolling
  const ask =
    'token' in by
      ? askByToken(readToken(by.token, kind, name), enrolling)
      : (request: Request) => postEnrolLocal(by.adminSocket, { kind, name, ...request })
  const instanceId = randomUUID()
  const keyPem = await makeKey()
  state.write('key.next.pem', keyPem)
  let answer: Enrolment
  let enrolled: StoredIdentity
  try {
    answer = await ask({ instanceId, csrPem: makeCsr(keyPem, { commonName: name, instanceId }) })
    enrolled = accept(answer, { keyPem, instanceId }, enrolling)
  } catch (error) {
    state.remove('key.next.pem')
    throw error
  }
  save(state, enrolled)
  log.info('identity.enrolled', { id: enrolled.identity.svid.id, serial: enrolled.identity.svid.serial })
  checkSkew(answer.now, clock.now())
  return enrolled
}

/** A crash within leaves a directory that is not enrolled, or one whose rotation can be finished; never a mixture that nobody can read. */
function save(state: StateDir, { identity, instance, bundle }: StoredIdentity): void {
  // what is there is of no use any more: expired, revoked, or of another mesh than this bundle
  state.remove('svid.pem')
  state.write('bundle.pem', bundlePem(bundle))
  // what an older identity knew of the mesh, its own revocation perhaps, is no news to this one
  state.remove('world.json')
  commitIdentity(state, identity, instance)
}

/**
 * Reads a join token and checks that it is for this member.
 * @throws MeshError JOIN_TOKEN_INVALID | JOIN_TOKEN_OTHER_NAME
 */
export function readToken(text: string, kind: NamedKind, name: AgentName): JoinToken {
  const token = parseJoinToken(text)
  if (token.kind !== kind || token.name !== name)
    throw new MeshError(
      'JOIN_TOKEN_OTHER_NAME',
      `the token is for ${token.kind} ${token.name}, not ${kind} ${name}`,
    )
  return token
}

/** @throws MeshError CLOCK_SKEW */
function checkSkew(theirs: number, ours: number): void {
  const skewMs = theirs - ours
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return
  const seconds = Math.round(Math.abs(skewMs) / 1000)
  throw new MeshError(
    'CLOCK_SKEW',
    `this host's clock is ${seconds} s ${skewMs > 0 ? 'behind' : 'ahead of'} the CA's`,
  )
}

function askByToken(token: JoinToken, { dev, clock }: Enrolling): (request: Request) => Promise<Enrolment> {
  return async (request) => {
    const address = parseCaAddress(token.caAddress)
    const root = await fetchPinnedRoot(address, token.rootFingerprints)
    const bundle = parseTrustBundle(token.trustDomain, root.toString())
    if (!dev) checkNoDevRoot(bundle)
    const answer = await postEnrol(
      { address, bundle, revocations: revocationsOf([], []), clock },
      { secret: token.secret, kind: token.kind, name: token.name, ...request },
    )
    if (answer.trustDomain !== token.trustDomain)
      throw new MeshError(
        'CA_IDENTITY_WRONG',
        `the CA answers for ${answer.trustDomain}, not ${token.trustDomain}`,
      )
    return answer
  }
}

function accept(
  answer: Enrolment,
  { keyPem, instanceId }: { keyPem: string; instanceId: string },
  { kind, name, dev, clock }: Enrolling,
): StoredIdentity {
  const bundle = parseTrustBundle(answer.trustDomain, answer.bundlePem)
  if (!dev) checkNoDevRoot(bundle)
  parseCaAddress(answer.caAddress)
  const id = namedId(answer.trustDomain, kind, name)
  const identity = proveIdentity({ chainPem: answer.chainPem, keyPem }, { id, instanceId, bundle })
  const renewAt = clock.now() + answer.renewAfterSeconds * 1000
  return { identity, bundle, instance: { instanceId, caAddress: answer.caAddress, renewAt } }
}
