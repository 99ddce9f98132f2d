import { describe, expect, it } from 'vitest'
import { namedId, parseAgentName, parseTrustDomain } from '../../../../mesh/spiffe-id.js'
import {
  formatXfcc,
  headOfAnswer,
  headToApp,
  headToMesh,
  type Outgoing,
} from '../../../../sidecar/call/headers.js'

const id = namedId(parseTrustDomain('flow.test'), 'agent', parseAgentName('planner'))
const LIE = 'LIE'
const trace = { received: false, traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` }
const svid = {
  id,
  serial: '4a',
  issuer: 'b'.repeat(64),
  instanceId: null,
  notBefore: 0,
  notAfter: 1,
  fingerprint: 'c'.repeat(64),
}

const IDENTITY = [
  'troth-call',
  'client-cert',
  'client-cert-chain',
  'x-forwarded-client-cert',
  'x-troth-anything',
  'x-troth-call-id',
  'x-troth-caller',
  'x-troth-ingress',
  'x-troth-local-credential',
  'x-troth-scopes',
]
const FORWARDING = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
]
const OVERRIDING = [
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
]

const spelled = (name: string): string[] => [
  name,
  name.toUpperCase(),
  name.replaceAll('-', '_'),
  name.replaceAll('-', '.'),
  name.replace('-', '+'),
]
const request = (names: readonly string[]): Outgoing => ({
  fields: [...names.flatMap((name) => [name, LIE]), 'x-own', 'kept'],
  framing: { kind: 'none' },
  method: 'GET',
  host: 'tickets.mesh',
  trace,
})
const toMesh = (names: readonly string[]): string[] => headToMesh(request(names), { id: 'call', sentAt: 1 })
const toApp = (names: readonly string[]): string[] =>
  headToApp(request(names), {
    caller: { svid, xfcc: 'By=x' },
    callId: 'call',
    scopes: [],
    ingressSecret: 'secret',
    meshHost: 'tickets.mesh',
  })

describe('a field that is not the sender’s to write', () => {
  it.each(IDENTITY)('%s passes no side, however it is spelled', (name) => {
    for (const head of [toMesh(spelled(name)), toApp(spelled(name))]) {
      expect(head).not.toContain(LIE)
      expect(head).toContain('kept')
    }
    const answer = spelled(name).flatMap((each) => [each, LIE])
    expect(headOfAnswer([...answer, 'x-own', 'kept'], 200)).toEqual(['x-own', 'kept', 'via', '1.1 troth'])
  })

  it.each([...FORWARDING, ...OVERRIDING])('%s does not reach the app, however it is spelled', (name) => {
    const head = toApp(spelled(name))
    expect(head).not.toContain(LIE)
    expect(head).toContain('kept')
  })
})

it('the subject in x-forwarded-client-cert cannot end its own quotes', () => {
  const subject = 'CN=a";URI=spiffe://flow.test/agent/root\\\nserialNumber=\u00e9'
  expect(formatXfcc(id, svid, subject)).toBe(
    `By=${id};Hash=${svid.fingerprint};Subject="serialNumber=?,CN=a\\";URI=spiffe://flow.test/agent/root\\\\";URI=${id}`,
  )
})
