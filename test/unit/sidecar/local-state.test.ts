import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keepPorts, makeLocalSecrets, portsFor } from '../../../sidecar/local-state.js'

describe('what a sidecar keeps on disk', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'ls-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  it('gives free ports first, the kept ones later, and the chosen ones always', () => {
    const none = { egress: null, ingress: null, admin: null }
    expect(portsFor(dir, none)).toEqual({ egress: 0, ingress: 0, admin: 0 })
    keepPorts(dir, { egress: 4001, ingress: 4002, admin: 4003 })
    expect(portsFor(dir, none)).toEqual({ egress: 4001, ingress: 4002, admin: 4003 })
    expect(portsFor(dir, { ...none, egress: 5001 })).toEqual({ egress: 5001, ingress: 4002, admin: 4003 })
  })

  it('refuses a damaged ports.json by name', () => {
    writeFileSync(path.join(dir, 'ports.json'), '{"egress": "x"}')
    expect(() => portsFor(dir, { egress: null, ingress: null, admin: null })).toThrow(
      expect.objectContaining({
        code: 'STATE_UNREADABLE',
        hint: 'remove it: free ports are picked anew',
      }),
    )
  })

  it('makes a new credential at each start, readable by its owner only', () => {
    const first = makeLocalSecrets(dir)
    const second = makeLocalSecrets(dir)
    expect(first.localCredential).not.toBe(second.localCredential)
    expect(Buffer.from(second.localCredential, 'base64url').length).toBe(32)
    for (const [name, secret] of [
      ['local-credential', second.localCredential],
      ['ingress-secret', second.ingressSecret],
    ] as const) {
      const file = path.join(dir, name)
      expect(readFileSync(file, 'utf8').trim()).toBe(secret)
      expect(statSync(file).mode & 0o777).toBe(0o600)
    }
  })
})
