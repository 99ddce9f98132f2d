// The CA's own engine in this process: its hierarchy, its store on disk as in production (fsync at each commit), and members whose
// requests are there before anything is measured.

import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { CSR_OF_MEMBER, parseCsr } from '../../ca/certificate/csr.js'
import { issuingProfile, memberProfile, rootProfile } from '../../ca/certificate/profile.js'
import { openSigner, signCertificate, signRoot } from '../../ca/certificate/sign.js'
import { signingKeyOf } from '../../ca/certificate/signing-key.js'
import { SIGNATURE_ALGORITHM } from '../../ca/certificate/template.js'
import { issueMemberLeaf } from '../../ca/issue.js'
import { newKeyPair } from '../../ca/keys/key-pair.js'
import type { CaStore, Member } from '../../ca/store/model.js'
import { createCaStore, openCaStore } from '../../ca/store.js'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import { bitString, explicit, integer, sequence } from '../../mesh/der-writer.js'
import { parseAgentName, parseTrustDomain } from '../../mesh/spiffe-id.js'
import { issueByLibrary, libraryKey } from './library-path.js'

export interface Engine extends Disposable {
  /** Makes that many requests, each with a key of its own, for what is measured next. */
  readonly prepare: (count: number) => void
  /** One leaf for the next request: from its PEM to the row on disk. */
  readonly issue: () => Promise<void>
  readonly issueByLibrary: () => Promise<void>
  /** What no path can do without: two verifications and one signature by node:crypto, keys at hand. */
  readonly cryptoAlone: () => Promise<void>
  readonly issued: () => number
}

/** More would measure the disk of a CA of that size, not the engine. */
const MEMBERS = 256
const TTL_MS = 86_400_000

export async function openEngine(): Promise<Engine> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'troth-bench-'))
  const trustDomain = parseTrustDomain('bench.internal')
  createCaStore(path.join(dir, 'ca.db'), { trustDomain, address: '127.0.0.1' })
  const store = openCaStore(path.join(dir, 'ca.db'))
  const now = Date.now()
  const query = { trustDomain, dev: true, nonce: '00000000', now }
  const rootKey = signingKeyOf(newKeyPair().privateKey)
  const root = await openSigner(await signRoot(rootProfile(query), rootKey), rootKey)
  const pair = newKeyPair()
  const issuing = await signCertificate(issuingProfile(query, root), pair.spkiDer, root)
  const signer = await openSigner(issuing, signingKeyOf(pair.privateKey))
  const ca = { issuing, issuer: keyFingerprintOf(issuing), signer, root: root.certificate }
  const bySigner = { certificateDer: issuing.raw, key: await libraryKey(pair.privateKey) }

  const members: Member[] = []
  for (let index = 0; index < MEMBERS; index += 1) members.push(await register(store, index))
  let requests: string[] = []
  let issued = 0
  const next = (): { member: Member; csrPem: string; instanceId: string } => {
    const csrPem = requests.pop()
    const member = members[issued % MEMBERS]
    if (csrPem === undefined || member === undefined) throw new Error('nothing was prepared')
    issued += 1
    return { member, csrPem, instanceId: randomUUID() }
  }
  const data = issuing.raw
  const signature = sign('sha256', data, pair.privateKey)
  const publicKey = createPublicKey(pair.privateKey)
  return {
    cryptoAlone: () => {
      sign('sha256', data, pair.privateKey)
      for (let count = 0; count < 2; count += 1)
        if (!verify('sha256', data, publicKey, signature)) throw new Error('a signature does not verify')
      return Promise.resolve()
    },
    issued: () => issued,
    prepare: (count) => {
      requests = Array.from({ length: count }, makeRequest)
    },
    issue: async () => {
      const { member, csrPem, instanceId } = next()
      const csr = parseCsr(csrPem, CSR_OF_MEMBER)
      const wanted = { id: member.id, instanceId, ttlMs: TTL_MS, csr, origin: 'local-admin' as const, now }
      await store.recordEnrolment(await issueMemberLeaf(ca, wanted), member.registration)
    },
    issueByLibrary: async () => {
      const { member, csrPem, instanceId } = next()
      const profile = memberProfile({ id: member.id, instanceId, ttlMs: TTL_MS, now }, signer)
      const leaf = await issueByLibrary(csrPem, profile, bySigner)
      const { notBefore, notAfter } = profile
      const row = {
        issuer: ca.issuer,
        id: member.id,
        instanceId,
        origin: 'local-admin' as const,
        issuedAt: now,
      }
      await store.recordEnrolment({ ...row, ...leaf, notBefore, notAfter }, member.registration)
    },
    [Symbol.dispose]: () => {
      void store.close().finally(() => rmSync(dir, { recursive: true, force: true }))
    },
  }
}

async function register(store: CaStore, index: number): Promise<Member> {
  const name = parseAgentName(`agent-${index}`)
  const settings = { ttlSeconds: null, address: null, graceSeconds: null, onClone: null }
  return (await store.register({ kind: 'agent', name, ...settings }, 0)).member
}

/** As a sidecar makes it, without the library: it is not measured, but there are a hundred thousand. */
function makeRequest(): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const info = sequence(integer(0), sequence(), spki, explicit(0))
  const der = sequence(info, SIGNATURE_ALGORITHM, bitString(sign('sha256', info, privateKey)))
  const body = der.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----\n`
}
