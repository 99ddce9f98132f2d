import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { READ_CERTS } from '../../mesh/wire/admin.js'
import * as hostile from '../support/hostile-csr.js'
import { answerOf, codeOf, type Reply, startCa } from '../support/running-ca.js'

describe('a certificate request that asks for more than a certificate', () => {
  it('is refused at enrolment, burns no token, and leaves no certificate', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    const enrol = (csrPem: string): Promise<Reply> =>
      ca.public('POST', '/v1/enrol', {
        secret,
        kind: 'agent',
        name: 'planner',
        instanceId: randomUUID(),
        csrPem,
      })
    const expected = [
      [await hostile.twoUriSansDer(), 'CSR_NOT_ALLOWED'],
      [await hostile.caExtensionDer(), 'CSR_NOT_ALLOWED'],
      [await hostile.challengePasswordDer(), 'CSR_NOT_ALLOWED'],
      [await hostile.wrongSignatureDer(), 'CSR_INVALID'],
      [await hostile.changedSubjectDer(), 'CSR_INVALID'],
      [await hostile.rsaDer(), 'CSR_KEY_UNSUPPORTED'],
      [await hostile.ed25519Der(), 'CSR_KEY_UNSUPPORTED'],
    ] as const
    for (const [der, code] of expected) expect(codeOf(await enrol(hostile.pemOf(der)))).toBe(code)
    expect(codeOf(await enrol('x'.repeat(20_000)))).toBe('WIRE_MALFORMED')
    expect(codeOf(await enrol('x'.repeat(100_000)))).toBe('WIRE_TOO_LARGE')
    const { certs } = answerOf(await ca.admin('GET', '/v1/certs'), READ_CERTS)
    expect(certs).toEqual([])
    expect((await enrol(hostile.pemOf(await hostile.plainDer()))).status).toBe(200)
  })

  it('is refused at renewal too', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    const csrPem = hostile.pemOf(await hostile.twoUriSansDer())
    expect(codeOf(await ca.member(member, 'POST', '/v1/renew', { csrPem }))).toBe('CSR_NOT_ALLOWED')
  })
})
