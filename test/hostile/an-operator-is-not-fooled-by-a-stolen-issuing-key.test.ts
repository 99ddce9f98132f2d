// Whoever stole an issuing key can answer an operator in the CA's name, until that operator has once heard the root's word on it.

import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { serverProfile } from '../../ca/certificate/profile.js'
import { openSigner, type Signer } from '../../ca/certificate/sign.js'
import { writeCertificate, writeTemplate } from '../../ca/certificate/template.js'
import { openKeyStore } from '../../ca/keys/key-store.js'
import { systemClock } from '../../host/clock.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { makeKey } from '../../member/identity/csr.js'
import { enrolOperator, openOperator } from '../../member/operator.js'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { READ_ROOTS } from '../../mesh/wire/admin.js'
import { MEMBER_ALPN } from '../../mesh/wire/enrolment.js'
import { memoryLog } from '../support/memory-log.js'
import { rotate, rotated } from '../support/rotating.js'
import { PASSPHRASES, startCa, type TestCa, TRUST_DOMAIN } from '../support/running-ca.js'

/** What a thief keeps of a CA's host: the opened key and its certificate. */
async function steal(ca: TestCa): Promise<Signer> {
  const dir = path.join(ca.home, 'ca')
  const keys = await openKeyStore({ dir, secrets: { root: null, issuing: PASSPHRASES.issuing }, dev: true })
  const certificate = new X509Certificate(readFileSync(path.join(dir, 'issuing.pem')))
  return openSigner(certificate, await keys.open('issuing'))
}

interface Impostor extends AsyncDisposable {
  readonly port: number
  /** Paths that it was asked for. */
  readonly asked: string[]
  /** The list that it hands out. */
  crl: Buffer
}

/** A CA's server by a stolen issuing key; it answers as the CA would. */
async function impose(stolen: Signer, ca: TestCa): Promise<Impostor> {
  const keyPem = await makeKey()
  const query = { trustDomain: TRUST_DOMAIN, hosts: ['127.0.0.1'], ttlMs: 3_600_000, now: Date.now() }
  const spkiDer = createPublicKey(keyPem).export({ format: 'der', type: 'spki' })
  const serial = Buffer.concat([Buffer.of(0x41), randomBytes(15)])
  const tbs = writeTemplate({ profile: serverProfile(query, stolen), spkiDer, issuer: stolen.issuer, serial })
  const leaf = new X509Certificate(writeCertificate(tbs, await stolen.key.sign(tbs)))
  const cert = leaf.toString() + stolen.certificate.toString() + ca.rootPem
  const asked: string[] = []
  const server = createServer(
    { ...TLS_FLOOR, key: keyPem, cert, ALPNProtocols: [MEMBER_ALPN, 'http/1.1'] },
    (request, response) => {
      asked.push(request.url ?? '')
      if (request.url?.startsWith('/crl/') === true) response.end(impostor.crl)
      else
        response.setHeader('content-type', 'application/json').end(JSON.stringify({ rootsPem: ca.rootPem }))
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const impostor: Impostor = {
    port: (server.address() as AddressInfo).port,
    asked,
    crl: Buffer.alloc(0),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return impostor
}

it('once it has heard the root, an operator never again takes a withdrawn issuing CA for its CA', async () => {
  await using ca = await startCa()
  const home = mkdtempSync(path.join(tmpdir(), 'top-'))
  try {
    const name = parseAgentName('ann')
    const log = memoryLog()
    const options = { home, name, dev: true, clock: systemClock, log }
    await ca.admin('POST', '/v1/agents', { kind: 'operator', name })
    await enrolOperator(options, { adminSocket: ca.running.adminSocket })
    const stolen = await steal(ca)
    await using impostor = await impose(stolen, ca)
    const list = `/crl/${keyFingerprintOf(new X509Certificate(ca.rootPem))}.crl`
    const fetched = await fetch(`http://127.0.0.1:${ca.running.port}${list}`)
    const before = Buffer.from(await fetched.arrayBuffer())
    const askVia = async (port: number): Promise<unknown> => {
      const file = path.join(home, 'operators', 'ann', 'instance.json')
      const instance = JSON.parse(readFileSync(file, 'utf8')) as object
      writeFileSync(file, JSON.stringify({ ...instance, caAddress: `127.0.0.1:${port}` }), { mode: 0o600 })
      const operator = await openOperator(options)
      return operator.ask({
        method: 'GET',
        path: '/v1/roots',
        read: READ_ROOTS,
        what: 'roots',
        timeoutMs: 5000,
      })
    }
    // the theft is real, and a list that names nothing takes nothing away
    for (const crl of [before, before.subarray(0, 60), flipped(before), Buffer.alloc(100_000)]) {
      impostor.crl = crl
      await expect(askVia(impostor.port)).resolves.toEqual({ rootsPem: ca.rootPem })
    }
    // nor does one that no root signed
    await askVia(ca.running.port)
    impostor.crl = before

    await rotate(ca, { kind: 'issuing', compromised: true })
    await rotated(ca)
    await askVia(ca.running.port)
    const heard = impostor.asked.length
    await expect(askVia(impostor.port)).rejects.toMatchObject({ code: 'CA_IDENTITY_WRONG' })
    expect(impostor.asked).toHaveLength(heard)
    // and the CA itself is its CA still
    await askVia(ca.running.port)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}, 20_000)

function flipped(der: Buffer): Buffer {
  const other = Buffer.from(der)
  other[other.length - 1] = (other.at(-1) ?? 0) ^ 1
  return other
}
