import { describe, expect, it } from 'vitest'
import { namedId, parseAgentName, parseTrustDomain } from '../../../../mesh/spiffe-id.js'
import {
  FieldRules,
  fieldsOfAnswer,
  fieldsToApp,
  fieldsToMesh,
  formatXfcc,
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
  name.replaceAll('-', '_'),
  name.replaceAll('-', '.'),
  name.replace('-', '+'),
]
const rules = new FieldRules()
const fieldsOf = (names: readonly string[]): string[] => [
  ...names.flatMap((name) => [name, LIE]),
  'x-own',
  'kept',
]
const toMesh = (names: readonly string[]): string[] =>
  fieldsToMesh(rules, fieldsOf(names), trace, { id: 'call', sentAt: 1 })
const toApp = (names: readonly string[]): string[] =>
  fieldsToApp(rules, fieldsOf(names), trace, {
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
    expect(fieldsOfAnswer(rules, [...answer, 'x-own', 'kept'])).toEqual(['x-own', 'kept', 'via', '1.1 troth'])
  })

  it.each([...FORWARDING, ...OVERRIDING])('%s does not reach the app, however it is spelled', (name) => {
    const head = toApp(spelled(name))
    expect(head).not.toContain(LIE)
    expect(head).toContain('kept')
  })
})

it('what was thought of a name holds when more names came than are remembered', () => {
  const many = new FieldRules()
  for (let at = 0; at < 5000; at++) many.fateOf(`x-${at}`)
  expect(many.fateOf('x_troth_caller')).toBe('dropped')
  expect(many.fateOf('x-real-ip')).toBe('not-to-app')
  expect(many.fateOf('x-4999')).toBe('passes')
})

it('of a referer only one that holds the local credential stays here', () => {
  const referer = (value: string) => fieldsToMesh(rules, ['referer', value], trace, { id: 'call', sentAt: 1 })
  expect(referer('http://127.0.0.1:4000/~secret/@tickets/')).not.toContain('referer')
  expect(referer('https://example.org/')).toContain('referer')
})

it('the subject in x-forwarded-client-cert cannot end its own quotes', () => {
  const subject = 'CN=a";URI=spiffe://flow.test/agent/root\\\nserialNumber=\u00e9'
  expect(formatXfcc(id, svid, subject)).toBe(
    `By=${id};Hash=${svid.fingerprint};Subject="serialNumber=?,CN=a\\";URI=spiffe://flow.test/agent/root\\\\";URI=${id}`,
  )
})
