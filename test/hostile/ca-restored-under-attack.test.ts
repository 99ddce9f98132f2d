// What somebody can make of a CA that was restored from a backup: it has forgotten, and believes certificates that it does not know.

import { createPublicKey, randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { memberProfile } from '../../ca/certificate/profile.js'
import { openSigner, type Signer } from '../../ca/certificate/sign.js'
import { writeCertificate, writeTemplate } from '../../ca/certificate/template.js'
import { openKeyStore } from '../../ca/keys/key-store.js'
import { backupCa } from '../../ca/recovery/backup.js'
import { restoreCa } from '../../ca/recovery/restore.js'
import { systemClock } from '../../host/clock.js'
import { makeKey } from '../../member/identity/csr.js'
import { parseSpiffeId } from '../../mesh/spiffe-id.js'
import { drill, issuerOf, recoveryOf, tell } from '../support/restored-ca.js'
import { rotate } from '../support/rotating.js'
import { codeOf, PASSPHRASES, startCa, type TestCa, type TestMember } from '../support/running-ca.js'

const DAY = 86_400_000

/** What a thief keeps of a CA's host: the opened key and its certificate. */
async function steal(ca: TestCa): Promise<Signer> {
  const dir = path.join(ca.home, 'ca')
  const keys = await openKeyStore({ dir, secrets: { root: null, issuing: PASSPHRASES.issuing }, dev: true })
  const certificate = new X509Certificate(readFileSync(path.join(dir, 'issuing.pem')))
  return openSigner(certificate, await keys.open('issuing'))
}

/** An operator's leaf that begins in the lost time. */
async function forge(
  stolen: Signer,
  { at, ttlMs }: { at: number; ttlMs: number },
): Promise<Pick<TestMember, 'keyPem' | 'chainPem'>> {
  const id = parseSpiffeId('spiffe://acme.internal/operator/ann')
  const profile = memberProfile({ id, instanceId: randomUUID(), ttlMs, now: at }, stolen)
  const keyPem = await makeKey()
  const spkiDer = createPublicKey(keyPem).export({ format: 'der', type: 'spki' })
  const serial = Buffer.concat([Buffer.of(0x41), randomBytes(15)])
  const tbs = writeTemplate({ profile, spkiDer, issuer: stolen.issuer, serial })
  const leaf = new X509Certificate(writeCertificate(tbs, await stolen.key.sign(tbs)))
  return { keyPem, chainPem: leaf.toString() + stolen.certificate.toString() }
}

const asOperator = async (ca: TestCa, as: Pick<TestMember, 'keyPem' | 'chainPem'>): Promise<unknown> =>
  codeOf(await ca.member(as, 'POST', '/v1/tokens', { kind: 'operator', name: 'mallory' }))

it('adopts no certificate of a stolen issuing key, and none that lives longer than any leaf', async () => {
  await using ca = await drill({
    before: async (first) => {
      await first.enrol('ann', 'operator')
    },
  })
  const stolen = await steal(ca)
  const longLived = await forge(stolen, { at: ca.takenAt, ttlMs: 60 * DAY })
  expect(await asOperator(ca, longLived)).toBe('PEER_REVOKED')
  const short = await forge(stolen, { at: ca.takenAt, ttlMs: DAY })
  await rotate(ca, { kind: 'issuing', compromised: true })
  expect(await asOperator(ca, short)).toBe('PEER_REVOKED')
})

it('makes no member forget what it returned, while it waits for the others', async () => {
  const members: TestMember[] = []
  await using ca = await drill({
    before: async (first) => {
      for (const name of ['planner', 'tickets', 'away']) members.push(await first.enrol(name))
    },
  })
  const [planner] = members as [TestMember]
  await tell(ca, planner, { ids: ['spiffe://acme.internal/agent/tickets'] })
  const { position } = await viewOf(ca, planner, null)
  // a view without the claim would revive it there: it is to keep what it knows until the claim is decided
  expect((await viewOf(ca, planner, position)).returns).toBe(true)
  await ca.admin('POST', '/v1/recovery/confirm', {})
  const decided = await viewOf(ca, planner, null)
  expect(decided).toMatchObject({ returns: false, ids: ['spiffe://acme.internal/agent/tickets'] })
})

async function viewOf(
  ca: TestCa,
  member: TestMember,
  position: { generation: string; epoch: number } | null,
) {
  const feed = await ca.feed(member)
  feed.send({ type: 'hello', position, capabilities: [] })
  const { view, returns, position: at } = await feed.next('snapshot')
  feed.close()
  await feed.closed
  return { ids: view.revokedIds, serials: view.revokedSerials, returns, position: at }
}

it('waits for no operator, who follows no feed, nor counts him among those that must agree', async () => {
  const members: TestMember[] = []
  await using ca = await drill({
    before: async (first) => {
      members.push(await first.enrol('planner'))
      for (const name of ['ann', 'bob']) await first.enrol(name, 'operator')
    },
  })
  expect((await recoveryOf(ca))?.missing.map(({ id }) => id)).toEqual([
    'spiffe://acme.internal/agent/planner',
  ])
  await tell(ca, members[0]!, {})
  expect((await recoveryOf(ca))?.endedBy).toBe('members')
})

it('restored once more, it still knows what the members returned the first time', async () => {
  let planner!: TestMember
  let gone!: TestMember
  await using ca = await drill({
    before: async (first) => {
      planner = await first.enrol('planner')
    },
    after: async (first) => {
      gone = await first.enrol('gone')
    },
  })
  const id = gone.enrolment.spiffeId
  const expiresAt = Date.parse(gone.leaf.validTo)
  const { serial } = gone
  await tell(ca, planner, { ids: [id], serials: [{ issuer: issuerOf(planner), serial, id, expiresAt }] })
  expect((await recoveryOf(ca))?.endedBy).toBe('members')

  const [dir, home] = [mkdtempSync(path.join(tmpdir(), 'tbackup-')), mkdtempSync(path.join(tmpdir(), 'tca-'))]
  const backup = { file: path.join(dir, 'ca.backup'), passphrase: 'backup', clock: systemClock }
  await backupCa({ home: ca.home, ...backup })
  await restoreCa({ home, address: null, ...backup })
  rmSync(dir, { recursive: true })
  await using again = await startCa({ there: { home, port: 0 } })
  expect(await viewOf(again, planner, null)).toMatchObject({ ids: [id], serials: [{ serial: gone.serial }] })
})
