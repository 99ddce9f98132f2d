// A member's identity on disk, and its rotation so that no crash loses it: the next key is saved before its request leaves; the
// new leaf is saved before the next key becomes the key; whoever opens the directory in between finishes the rotation.

import { createPrivateKey, type X509Certificate } from 'node:crypto'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import { integer, nullable, readJson, record, text, withDefault } from '../../mesh/parse.js'
import { revocationsOf } from '../../mesh/revocation.js'
import { type SpiffeId, trustDomainOf } from '../../mesh/spiffe-id.js'
import { parseSvid } from '../../mesh/svid.js'
import { parseTrustBundle, splitPem, type TrustBundle } from '../../mesh/trust-bundle.js'
import { verifyPeer } from '../../mesh/verify-peer.js'
import type { StateDir } from '../state-dir.js'
import type { Identity, Instance } from './credentials.js'

/** instance.json. `serial`: the certificate that `renewAt` is for. */
const READ_INSTANCE = record({
  version: integer(1, 1),
  instanceId: text(36),
  caAddress: text(300),
  serial: withDefault(nullable(text(40)), null),
  renewAt: integer(0),
})

export interface StoredIdentity {
  readonly identity: Identity
  readonly instance: Instance
  readonly bundle: TrustBundle
}

/**
 * The identity of the directory, its rotation finished.
 * @returns undefined when it was never enrolled
 * @throws MeshError STATE_UNREADABLE | STATE_PERMISSIONS
 */
export function loadIdentity(state: StateDir): StoredIdentity | undefined {
  const chainPem = state.read('svid.pem')
  if (chainPem === undefined) return undefined
  try {
    const [leaf, issuing] = splitPem(chainPem)
    if (leaf === undefined || issuing === undefined)
      throw new MeshError('STATE_UNREADABLE', 'svid.pem is not a leaf and its issuing CA')
    const { id, instanceId } = parseSvid(leaf, issuing)
    const keyPem = finishRotation(state, leaf)
    const bundle = parseTrustBundle(trustDomainOf(id), state.read('bundle.pem') ?? '')
    const { caAddress, serial, renewAt } = readJson(
      state.read('instance.json') ?? '',
      READ_INSTANCE,
      'instance.json',
    )
    const identity = proveIdentity({ chainPem, keyPem }, { id, instanceId: instanceId ?? '', bundle })
    // a crash may have left what was meant for the next certificate, when this one is dead: renew now
    const isOfThis = serial === null || serial === identity.svid.serial
    const instance = { instanceId: instanceId ?? '', caAddress, renewAt: isOfThis ? renewAt : 0 }
    return { identity, instance, bundle }
  } catch (error) {
    throw unusable(state.dir, error)
  }
}

function unusable(dir: string, error: unknown): MeshError {
  if (isMeshError(error, 'STATE_PERMISSIONS')) return error
  const message = isMeshError(error, 'STATE_UNREADABLE')
    ? error.message
    : `the identity in ${dir} cannot be used`
  return new MeshError('STATE_UNREADABLE', message, {
    cause: error,
    hint: `restore it from a backup; or remove ${dir}/svid.pem and enrol again: troth token NAME`,
  })
}

/**
 * Checks that key and chain are one, of this identity and instance, and lead to the bundle. Its dates are left to the caller.
 * @throws MeshError PEER_* | WIRE_MALFORMED
 */
export function proveIdentity(
  { chainPem, keyPem }: { chainPem: string; keyPem: string },
  expected: { id: SpiffeId; instanceId: string; bundle: TrustBundle },
): Identity {
  const chain = splitPem(chainPem)
  const [leaf, issuing] = chain
  if (leaf === undefined || issuing === undefined || !belongsTo(keyPem, leaf))
    throw new MeshError('WIRE_MALFORMED', 'the certificate is not for the key of this member')
  const { notAfter } = parseSvid(leaf, issuing)
  const svid = verifyPeer({
    chain,
    // a chain from a file or an answer: there is no TLS to ask; the judge builds the path itself
    tlsAuthorized: true,
    bundles: new Map([[expected.bundle.trustDomain, expected.bundle]]),
    revocations: revocationsOf([], []),
    expected: { exactly: expected.id },
    // an instant at which leaf and issuers are valid together, if ever
    now: notAfter,
  })
  if (svid.instanceId !== expected.instanceId)
    throw new MeshError('WIRE_MALFORMED', 'the certificate is for another instance')
  return { svid, keyPem, chainPem: leaf.toString() + issuing.toString(), issuing }
}

/** Puts a new identity, whose key is key.next.pem, in the place of the old one. */
export function commitIdentity(state: StateDir, { chainPem, svid }: Identity, instance: Instance): void {
  state.write('instance.json', `${JSON.stringify({ version: 1, ...instance, serial: svid.serial })}\n`)
  state.write('svid.pem', chainPem)
  state.promoteNextKey()
}

/** @returns the key of the leaf */
function finishRotation(state: StateDir, leaf: X509Certificate): string {
  const keyPem = state.read('key.pem')
  if (keyPem !== undefined && belongsTo(keyPem, leaf)) return keyPem
  const nextPem = state.read('key.next.pem')
  if (nextPem === undefined || !belongsTo(nextPem, leaf))
    throw new MeshError('STATE_UNREADABLE', `no key in ${state.dir} belongs to svid.pem`)
  state.promoteNextKey()
  return nextPem
}

const belongsTo = (keyPem: string, leaf: X509Certificate): boolean =>
  leaf.checkPrivateKey(createPrivateKey(keyPem))
