import { expect, it } from 'vitest'
import { endToEnd } from '../../../../sidecar/http1/fields.js'

const kept = (fields: readonly string[]): string[] => endToEnd(fields, () => true)

it.each([
  'Connection',
  'Content-Length',
  'Expect',
  'Host',
  'HTTP2-Settings',
  'Keep-Alive',
  'Proxy-Authenticate',
  'Proxy-Authentication-Info',
  'Proxy-Authorization',
  'Proxy-Connection',
  'TE',
  'Trailer',
  'Transfer-Encoding',
  'Upgrade',
])('%s ends at its hop, in every spelling that some reader takes for it', (name) => {
  for (const spelled of [name, name.toUpperCase(), name.replaceAll('-', '_'), name.replaceAll('-', '.')])
    expect(kept([spelled, '1', 'x-own', '2'])).toEqual(['x-own', '2'])
})

it('what Connection nominates ends with it, in any case and of any of its lines', () => {
  const fields = [
    'connection',
    'close, X-Mine',
    'x-mine',
    '1',
    'Connection',
    'x-too',
    'X-Too',
    '2',
    'x-own',
    '3',
  ]
  expect(kept(fields)).toEqual(['x-own', '3'])
})
