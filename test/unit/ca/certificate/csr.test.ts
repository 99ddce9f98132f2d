import { describe, expect, it } from 'vitest'
import { CSR_OF_MEMBER, parseCsr } from '../../../../ca/certificate/csr.js'
import { makeKeyAndCsr } from '../../../../member/identity/csr.js'
import { isMeshError, type MeshErrorCode } from '../../../../mesh/errors.js'
import * as hostile from '../../../support/hostile-csr.js'

function refusal(pem: string): MeshErrorCode | 'accepted' {
  try {
    parseCsr(pem, CSR_OF_MEMBER)
    return 'accepted'
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
}

describe('parseCsr', () => {
  it('takes the request that a member makes', async () => {
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: 'x' })
    const { spkiDer, publicKeyHash } = parseCsr(csrPem, CSR_OF_MEMBER)
    expect(spkiDer).toHaveLength(91)
    expect(publicKeyHash).toMatch(/^[0-9a-f]{64}$/)
  })

  it('takes P-384', async () => {
    expect(refusal(hostile.pemOf(await hostile.p384Der()))).toBe('accepted')
  })

  it.each([
    ['two URI names', hostile.twoUriSansDer, 'CSR_NOT_ALLOWED'],
    ['a CA extension', hostile.caExtensionDer, 'CSR_NOT_ALLOWED'],
    ['a challenge password', hostile.challengePasswordDer, 'CSR_NOT_ALLOWED'],
    ['a wrong signature', hostile.wrongSignatureDer, 'CSR_INVALID'],
    ['a subject changed after signing', hostile.changedSubjectDer, 'CSR_INVALID'],
    ['an indefinite length', hostile.indefiniteLengthDer, 'CSR_INVALID'],
    ['an RSA key', hostile.rsaDer, 'CSR_KEY_UNSUPPORTED'],
    ['an Ed25519 key', hostile.ed25519Der, 'CSR_KEY_UNSUPPORTED'],
    ['a P-521 key', hostile.p521Der, 'CSR_KEY_UNSUPPORTED'],
    ['a key in a second spelling', hostile.compressedPointDer, 'CSR_KEY_UNSUPPORTED'],
  ] as const)('refuses %s', async (_what, make, code) => {
    expect(refusal(hostile.pemOf(await make()))).toBe(code)
  })

  it('refuses other armour, two requests, text around it, bytes after it, and too much of it', async () => {
    const der = await hostile.plainDer()
    const pem = hostile.pemOf(der)
    expect(refusal(pem)).toBe('accepted')
    for (const text of [
      '',
      'hello',
      hostile.pemOf(der, 'NEW CERTIFICATE REQUEST'),
      hostile.pemOf(der, 'CERTIFICATE'),
      pem + pem,
      `x${pem}`,
      `${pem}x`,
      hostile.pemOf(Buffer.concat([der, Buffer.from([0])])),
      hostile.pemOf(der.subarray(0, -1)),
      pem.replace('\nMI', '\n!MI'),
      hostile.pemOf(Buffer.alloc(13_000)),
    ])
      expect(refusal(text)).toBe('CSR_INVALID')
  })

  it('refuses a point in another form than the uncompressed one', async () => {
    const der = await hostile.plainDer()
    const broken = Buffer.from(der)
    // the first octet of the uncompressed point, after its BIT STRING header
    broken[broken.indexOf(Buffer.from('03420004', 'hex')) + 3] = 2
    expect(['CSR_INVALID', 'CSR_KEY_UNSUPPORTED']).toContain(refusal(hostile.pemOf(broken)))
  })

  it('answers with a code for every flipped byte, and accepts none of them', async () => {
    const der = await hostile.plainDer()
    for (let at = 0; at < der.length; at += 1) {
      const broken = Buffer.from(der)
      broken[at] = (broken[at] ?? 0) ^ 0x55
      expect(refusal(hostile.pemOf(broken)), `byte ${at}`).not.toBe('accepted')
    }
  })
})
