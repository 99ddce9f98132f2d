import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { initCa } from '../../ca/init.js'
import { serveCa } from '../../ca/main.js'
import { rotateOffline } from '../../ca/rotate.js'
import { systemClock } from '../../host/clock.js'
import { openLifecycle } from '../../host/lifecycle.js'
import { READ_TOKEN_MINTED } from '../../mesh/wire/admin.js'
import { parseJoinToken } from '../../mesh/wire/enrolment.js'
import { manualClock } from '../support/manual-clock.js'
import { memoryLog } from '../support/memory-log.js'
import { openSidecars, until } from '../support/real-sidecars.js'
import { begin, rotate, rotated, rotationOf, sign } from '../support/rotating.js'
import { answerOf, codeOf, PASSPHRASES, startCa, TRUST_DOMAIN } from '../support/running-ca.js'

const DAY = 86_400_000
const issuing = { kind: 'issuing', compromised: false } as const
const root = { kind: 'root', compromised: false } as const

describe('a rotation', () => {
  it('waits for who has not acknowledged, names him, survives restarts, and goes on by force', async () => {
    await using ca = await startCa()
    const away = await ca.enrol('away')
    await rotate(ca, issuing)
    const waiting = await rotationOf(ca)
    expect(waiting).toMatchObject({ phase: 'distribute', waitsFor: [{ instanceId: away.instanceId }] })
    expect(waiting?.waitsFor[0]?.until).toBeGreaterThan(Date.now() + 1.9 * DAY)
    await ca.restart()
    expect(await rotationOf(ca)).toEqual(waiting)
    expect((await begin(ca, issuing)).toSign).toBeNull()
    expect(codeOf(await ca.admin('POST', '/v1/rotation', root))).toBe('CA_ROTATION_RUNNING')

    await ca.admin('POST', '/v1/rotation/force')
    expect(await rotationOf(ca)).toMatchObject({
      phase: 'renew',
      waitsFor: [{ instanceId: away.instanceId }],
    })
    await ca.restart()
    expect(await rotationOf(ca)).toMatchObject({ phase: 'renew' })
    // who comes back renews by what it has: the old issuing CA is known until its last leaf has ended
    const feed = await ca.feed(away)
    feed.send({ type: 'hello', position: null, capabilities: [] })
    const { view } = await feed.next('snapshot')
    expect(view.bundles[0]?.issuingPem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
    feed.close()
    await ca.admin('POST', '/v1/rotation/force')
    expect(await rotationOf(ca)).toBeNull()
    // told of a theft now, the root's list is to name the one before, too: it is withdrawn as well
    const { toSign } = await begin(ca, { kind: 'issuing', compromised: true })
    const ofAway = away.chainPem.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----/g)?.[1] ?? ''
    expect(toSign?.revoked).toHaveLength(2)
    expect(toSign?.revoked.map(({ serial }) => serial)).toContain(
      new X509Certificate(ofAway).serialNumber.toLowerCase(),
    )
    await rotate(ca, { kind: 'issuing', compromised: true })
    for (let open = await rotationOf(ca); open !== null; open = await rotationOf(ca))
      await ca.admin('POST', '/v1/rotation/force')
    expect(codeOf(await ca.admin('POST', '/v1/rotation/force'))).toBe('CA_ROTATION_NONE')
  }, 30_000)

  it('goes on where it was, with the key that it had made, when it was interrupted before the root signed', async () => {
    await using ca = await startCa()
    const first = await begin(ca, root)
    expect(codeOf(await ca.admin('POST', '/v1/rotation/force'))).toBe('CA_ROTATION_NONE')
    await ca.restart()
    const { toSign } = await begin(ca, root)
    expect(toSign).toEqual(first.toSign)
    if (toSign === null) throw new Error('nothing to sign')
    await sign(ca, toSign)
    // the new root's key was made by the first, killed command; the second finds it
    const signed = await sign(ca, toSign)
    const put = (body: unknown) => ca.admin('PUT', '/v1/rotation/certificates', body)
    expect(codeOf(await put({ ...signed, issuingPem: ca.rootPem }))).toBe('CA_ROTATION_INVALID')
    expect(codeOf(await put({ ...signed, rootPem: ca.rootPem }))).toBe('CA_ROTATION_INVALID')
    expect(codeOf(await put({ ...signed, rootPem: null }))).toBe('CA_ROTATION_INVALID')
    expect(codeOf(await put({ ...signed, crossPem: signed.issuingPem }))).toBe('CA_ROTATION_INVALID')
    expect(await rotationOf(ca)).toMatchObject({ phase: 'prepare' })
    expect((await put(signed)).status).toBe(200)
    await rotated(ca)
    expect((await ca.admin('GET', '/v1/status')).json).toMatchObject({ rotation: null, rootKeyHere: true })
  }, 30_000)

  it('of the root waits for the tokens that know only the old one; later ones know both', async () => {
    await using ca = await startCa()
    await using sidecars = openSidecars(ca)
    const mint = async (name: string): Promise<string> =>
      answerOf(await ca.admin('POST', '/v1/tokens', { kind: 'agent', name }), READ_TOKEN_MINTED).token
    const before = await mint('early')
    await rotate(ca, root)
    const waiting = await rotationOf(ca)
    expect(waiting?.phase).toBe('distribute')
    expect(waiting?.tokensUntil).toBeGreaterThan(Date.now())
    const during = await mint('late')
    expect(parseJoinToken(during).rootFingerprints).toHaveLength(2)
    await sidecars.start('early', { enrolBy: { token: before } })
    await rotated(ca)
    // minted when both roots were trusted; the door shows the new one now
    const late = await sidecars.start('late', { enrolBy: { token: during } })
    expect(late.id).toBe('spiffe://acme.internal/agent/late')
    expect(parseJoinToken(await mint('later')).rootFingerprints).toHaveLength(1)
    expect(
      await until('all agents with the new root', async () =>
        (await rotationOf(ca)) === null ? true : undefined,
      ),
    ).toBe(true)
  }, 30_000)
})

describe('a CA in which everything has expired', () => {
  it.each([
    ['issuing', 400],
    ['root', 3700],
  ] as const)('is mended without serving: %s', async (kind, days) => {
    const home = mkdtempSync(path.join(tmpdir(), 'tca-'))
    try {
      const init = { home, trustDomain: TRUST_DOMAIN, address: '127.0.0.1', dev: true, tokens: null }
      const clock = manualClock(Math.floor(Date.now() / 1000) * 1000 - days * DAY)
      await initCa({ ...init, passphrases: PASSPHRASES, clock })
      const serve = () =>
        serveCa({
          home,
          listen: '127.0.0.1',
          port: 0,
          adminPort: null,
          passphrase: PASSPHRASES.issuing,
          dev: true,
          leafTtlMs: DAY,
          clock: systemClock,
          log: memoryLog(),
          lifecycle: openLifecycle(),
        })
      await expect(serve()).rejects.toEqual(expect.objectContaining({ code: 'CA_EXPIRED' }))
      const left = await rotateOffline({
        home,
        dev: true,
        rootPassphrase: PASSPHRASES.root,
        rootKeyFile: null,
        passphrase: PASSPHRASES.issuing,
        wanted: { kind, compromised: false },
        clock: systemClock,
        log: memoryLog(),
      })
      expect(left).toBeNull()
      await (await serve()).close()
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  })
})
