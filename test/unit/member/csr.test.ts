import 'reflect-metadata'
import { createPublicKey, webcrypto } from 'node:crypto'
import { Pkcs10CertificateRequest } from '@peculiar/x509'
import { expect, it } from 'vitest'
import { CSR_OF_MEMBER, parseCsr } from '../../../ca/certificate/csr.js'
import { makeCsr, makeKey, makeKeyAndCsr } from '../../../member/identity/csr.js'

const SUBJECT = { commonName: 'planner', instanceId: '0a0a0a0a-0000-4000-8000-00000000000f' }

it('a request reads back in a library as it was meant: its names, its key, nothing asked for', async () => {
  const { keyPem, csrPem } = await makeKeyAndCsr(SUBJECT)
  const request = new Pkcs10CertificateRequest(csrPem)
  expect(await request.verify(webcrypto)).toBe(true)
  expect(request.subjectName.getField('CN')).toEqual([SUBJECT.commonName])
  expect(request.subjectName.getField('2.5.4.5')).toEqual([SUBJECT.instanceId])
  expect(request.attributes).toEqual([])
  const spki = createPublicKey(keyPem).export({ type: 'spki', format: 'der' })
  expect(Buffer.from(request.publicKey.rawData).equals(spki)).toBe(true)
})

it('the CA takes it, and the same key asks for the same', async () => {
  const keyPem = await makeKey()
  const [first, second] = [makeCsr(keyPem, SUBJECT), makeCsr(keyPem, SUBJECT)]
  const read = parseCsr(first, CSR_OF_MEMBER)
  expect(read.kind).toBe('P-256')
  expect(parseCsr(second, CSR_OF_MEMBER)).toEqual(read)
})

it('a name of letters that few know is a name', async () => {
  const { csrPem } = await makeKeyAndCsr({ ...SUBJECT, commonName: 'plänner 机' })
  expect(new Pkcs10CertificateRequest(csrPem).subjectName.getField('CN')).toEqual(['plänner 机'])
  expect(parseCsr(csrPem, CSR_OF_MEMBER).kind).toBe('P-256')
})
