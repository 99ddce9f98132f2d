import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { READ_ENROLMENT } from '../../mesh/wire/enrolment.js'
import { answerOf, memberOf, startCa } from '../support/running-ca.js'

describe('enrolment at the CA', () => {
  it('gives the holder of a token a leaf with exactly its names', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    const instanceId = randomUUID()
    const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: 'somebody-else', instanceId })
    const reply = await ca.public('POST', '/v1/enrol', {
      secret,
      kind: 'agent',
      name: 'planner',
      instanceId,
      csrPem,
    })
    expect(reply.status).toBe(200)
    const { leaf, enrolment } = memberOf('planner', {
      instanceId,
      keyPem,
      enrolment: answerOf(reply, READ_ENROLMENT),
    })
    expect(leaf.subjectAltName).toBe('URI:spiffe://acme.internal/agent/planner, DNS:planner.mesh')
    expect(leaf.subject.split('\n')).toEqual(['CN=planner', `serialNumber=${instanceId}`])
    expect(enrolment.caAddress).toBe(ca.running.address)
    expect(enrolment.renewAfterSeconds).toBeGreaterThan(0.44 * 86_400)
    expect(enrolment.renewAfterSeconds).toBeLessThan(0.56 * 86_400)
  })
})
