import { createPublicKey, randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { memberProfile } from '../../ca/certificate/profile.js'
import { openSigner, type Signer } from '../../ca/certificate/sign.js'
import { writeCertificate, writeTemplate } from '../../ca/certificate/template.js'
import { openKeyStore } from '../../ca/keys/key-store.js'
import { makeKey, makeKeyAndCsr } from '../../member/identity/csr.js'
import { parseSpiffeId } from '../../mesh/spiffe-id.js'
import { connectTls, request, sendRaw, statusOf } from '../support/raw-http.js'
import { openSidecars, until, urlOf } from '../support/real-sidecars.js'
import { rotate, rotated } from '../support/rotating.js'
import { codeOf, PASSPHRASES, startCa, type TestCa } from '../support/running-ca.js'
import { startApp } from '../support/sse.js'
import { POLICY } from '../support/start-mesh.js'

interface Forged {
  readonly keyPem: string
  readonly chainPem: string
}

/** What a thief keeps of a CA's host: the opened key and its certificate. */
async function steal(ca: TestCa): Promise<Signer> {
  const dir = path.join(ca.home, 'ca')
  const keys = await openKeyStore({ dir, secrets: { root: null, issuing: PASSPHRASES.issuing }, dev: true })
  const certificate = new X509Certificate(readFileSync(path.join(dir, 'issuing.pem')))
  return openSigner(certificate, await keys.open('issuing'))
}

async function forge(stolen: Signer, name: string, serial: Buffer): Promise<Forged> {
  const id = parseSpiffeId(`spiffe://acme.internal/agent/${name}`)
  const profile = memberProfile({ id, instanceId: randomUUID(), ttlMs: 3_600_000, now: Date.now() }, stolen)
  const keyPem = await makeKey()
  const spkiDer = createPublicKey(keyPem).export({ format: 'der', type: 'spki' })
  const tbs = writeTemplate({ profile, spkiDer, issuer: stolen.issuer, serial })
  const leaf = new X509Certificate(writeCertificate(tbs, await stolen.key.sign(tbs)))
  return { keyPem, chainPem: leaf.toString() + stolen.certificate.toString() }
}

it('a stolen issuing key is worth nothing within seconds, and the whole mesh has new leaves', async () => {
  await using app = await startApp((_request, response) => response.end('ticket'))
  await using ca = await startCa()
  await using sidecars = openSidecars(ca)
  for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
  await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
  const tickets = await sidecars.start('tickets', { app: app.place })
  const planner = await sidecars.start('planner')
  const call = () => request(`${urlOf(planner, 'tickets')}/tickets/1`)
  await until('the first call', async () => ((await call()).status === 200 ? true : undefined))
  const svid = path.join(ca.home, 'agents', 'planner', 'svid.pem')
  const old = new X509Certificate(readFileSync(svid))

  const stolen = await steal(ca)
  const sameSerial = await forge(stolen, 'planner', Buffer.from(old.serialNumber, 'hex'))
  const newName = await forge(stolen, 'ghost', Buffer.concat([Buffer.of(0x41), randomBytes(15)]))
  const atIngress = async (as: Forged): Promise<string> => {
    const to = { ca: ca.rootPem, servername: 'tickets.mesh' }
    const socket = await connectTls(tickets.ports.ingress, as, to)
    return sendRaw(socket, 'GET /tickets/1 HTTP/1.1\r\nhost: tickets.mesh\r\nconnection: close\r\n\r\n')
  }
  const atCa = async (as: Forged): Promise<unknown> => {
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: randomUUID() })
    return codeOf(await ca.member(as, 'POST', '/v1/renew', { csrPem }))
  }
  // the theft is real
  expect(statusOf(await atIngress(sameSerial))).toBe(200)
  expect(await atCa(sameSerial)).toBe('PEER_FORGED')

  const startedAt = performance.now()
  await rotate(ca, { kind: 'issuing', compromised: true })
  await rotated(ca)
  await until('calls by new leaves', async () => ((await call()).status === 200 ? true : undefined))
  const tookMs = Math.round(performance.now() - startedAt)
  process.stdout.write(`re-issued, and calling again, ${tookMs} ms after the compromise was told\n`)
  expect(tookMs).toBeLessThan(10_000)

  expect(new X509Certificate(readFileSync(svid)).checkIssued(stolen.certificate)).toBe(false)
  for (const forged of [sameSerial, newName]) expect(await atIngress(forged)).toContain('PEER_REVOKED')
  expect(await atCa(sameSerial)).toBe('PEER_FORGED')
  expect(await atCa(newName)).toBe('PEER_REVOKED')
  // also after everybody forgot what they had in memory
  await ca.restart()
  expect(await atCa(newName)).toBe('PEER_REVOKED')
  expect(await atIngress(newName)).toContain('PEER_REVOKED')
}, 40_000)
