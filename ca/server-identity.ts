// The CA's own server leaf: made in memory at start, recorded like every other certificate, renewed in time, made anew when the
// operator changes the address. Its key never touches the disk.

import { randomUUID } from 'node:crypto'
import type { Clock } from '../host/clock.js'
import { pause } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import { caId } from '../mesh/spiffe-id.js'
import { bundlePem, joinPem } from '../mesh/trust-bundle.js'
import { hashOfKey } from './certificate/csr.js'
import { serverProfile } from './certificate/profile.js'
import { signChecked } from './certificate/sign.js'
import type { ServerIdentity } from './door.js'
import type { Hierarchy } from './hierarchy.js'
import { recordOf } from './issue.js'
import { newKeyPair } from './keys/key-pair.js'
import type { CaStore } from './store/model.js'

const LIFE_MS = 86_400_000
/** Looked at by the wall clock, so that a host that slept does not wake up with a dead certificate for long. */
const LOOK_MS = 30_000

export interface ServerIdentityOptions {
  readonly hierarchy: Hierarchy
  readonly store: CaStore
  readonly clock: Clock
  readonly log: Log
  /** Host that the server listens on. */
  readonly listen: string
}

export interface NewIdentity {
  readonly identity: ServerIdentity
  readonly renewAt: number
}

/** @throws MeshError CA_EXPIRED | ISSUE_CHECK_FAILED */
export async function makeServerIdentity(options: ServerIdentityOptions): Promise<NewIdentity> {
  const { hierarchy, store, clock, listen } = options
  const { trustDomain } = hierarchy
  const ca = hierarchy.current()
  // once the old root is retired, a member that knows only that one has lost the mesh, and is to see it
  const crosses = hierarchy.roots.length > 1 ? hierarchy.bundle.crosses : []
  const { address } = await store.mesh()
  const now = clock.now()
  const hosts = [address, '127.0.0.1', '::1', ...(isAny(listen) ? [] : [listen])]
  const profile = serverProfile({ trustDomain, hosts, ttlMs: LIFE_MS, now }, ca.signer)
  const { privateKey, spkiDer } = newKeyPair()
  const record = recordOf(await signChecked(profile, spkiDer, ca.signer), {
    id: caId(trustDomain),
    instanceId: randomUUID(),
    issuer: ca.issuer,
    origin: 'server',
    issuedAt: now,
    publicKeyHash: hashOfKey(spkiDer),
  })
  await store.recordServerCertificate(record)
  return {
    identity: {
      keyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      chainPem: record.pem + joinPem([ca.issuing, ca.root]),
      memberChainPem: record.pem + joinPem([ca.issuing, ...(crosses.length > 0 ? crosses : [ca.root])]),
      rootsPem: bundlePem(hierarchy.bundle),
    },
    renewAt: now + (profile.notAfter - now) / 2,
  }
}

/**
 * Renews the server's leaf at half its life, until the signal. A renewal that fails is tried again at the next look: the
 * leaf in use is good for as long again.
 */
export async function keepServerIdentity(
  options: ServerIdentityOptions,
  first: NewIdentity,
  use: { signal: AbortSignal; set: (identity: ServerIdentity) => void },
): Promise<void> {
  const { clock, log } = options
  let { renewAt } = first
  for (;;) {
    await pause(clock, LOOK_MS, use.signal)
    if (use.signal.aborted) return
    if (clock.now() < renewAt) continue
    try {
      const next = await makeServerIdentity(options)
      use.set(next.identity)
      renewAt = next.renewAt
      log.info('ca.server_certificate_renewed')
    } catch (error) {
      log.error('ca.server_certificate_failed', errorFields(error))
    }
  }
}

const isAny = (host: string): boolean => host === '0.0.0.0' || host === '::'
