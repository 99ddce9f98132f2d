import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { formatConfig, listenHostOf, parseConfig, readConfig, SETTINGS } from '../../../host/config.js'
import { MeshError } from '../../../mesh/errors.js'

function refusal(yaml: string): MeshError {
  try {
    parseConfig(yaml, 'config.yaml')
  } catch (error) {
    if (error instanceof MeshError) return error
    throw error
  }
  throw new Error('the configuration was accepted')
}

describe('the configuration of a home', () => {
  it('is made of defaults when there is no file', () => {
    const home = mkdtempSync(path.join(os.tmpdir(), 'troth-'))
    try {
      expect(readConfig(home)).toEqual({
        trustDomain: null,
        address: '127.0.0.1',
        listen: null,
        dev: false,
        caPort: 7410,
        collectorPort: 7411,
        leafTtlMs: 86_400_000,
        feedMaxStalenessMs: 600_000,
        feedOnStale: 'allow',
        auditOnFailure: 'deny',
        auditDurability: 'process',
        auditMaxDiskBytes: 2 ** 31,
        bodyMaxBytes: 2 ** 26,
        connectTimeoutMs: 5000,
        headTimeoutMs: 300_000,
        idleTimeoutMs: 600_000,
        streamMaxAgeMs: 86_400_000,
        drainMs: 10_000,
        egressTunnels: new Set(),
        logLevel: 'info',
      })
    } finally {
      rmSync(home, { recursive: true })
    }
  })

  it('takes flat keys, comments and quoted values', () => {
    const config = parseConfig(
      '# ours\ntrustDomain: "acme.internal"\nfeed.onStale: deny # careful\nca.port: 17410\nleaf.ttl: 1h\naudit.maxDisk: 512MiB\n',
      'config.yaml',
    )
    expect(config).toMatchObject({
      trustDomain: 'acme.internal',
      feedOnStale: 'deny',
      caPort: 17_410,
      leafTtlMs: 3_600_000,
      auditMaxDiskBytes: 2 ** 29,
    })
  })

  it('lists where tunnels may lead in one form', () => {
    const { egressTunnels } = parseConfig(
      'egress.tunnels: "API.example.org:443, 10.0.0.7:0443,[::1]:8443"\n',
      'config.yaml',
    )
    expect([...egressTunnels]).toEqual(['api.example.org:443', '10.0.0.7:443', '[::1]:8443'])
  })

  it.each([
    ['an unknown key', 'trustDomain: a.b\nca.prot: 1\n', 'config.yaml:2:1'],
    ['a nested key', 'feed:\n  onStale: deny\n', 'config.yaml:1:1'],
    ['a value of the wrong kind', 'log.level: loud\n', 'config.yaml:1:12'],
    ['a port out of range', '\n\nca.port: 65536\n', 'config.yaml:3:10'],
    ['a hexadecimal port', 'ca.port: 0x10\n', 'config.yaml:1:10'],
    ['a leaf that lives too long', 'leaf.ttl: 8d\n', 'config.yaml:1:11'],
    ['a size without a unit', 'body.max: 1000\n', 'config.yaml:1:11'],
    ['a tunnel without a port', 'egress.tunnels: example.org\n', 'config.yaml:1:17'],
    ['a tunnel to port 0', 'egress.tunnels: example.org:0\n', 'config.yaml:1:17'],
    ['a tunnel to any host below a name', 'egress.tunnels: "*.example.org:443"\n', 'config.yaml:1:17'],
    ['a tunnel to a host of the mesh', 'egress.tunnels: tickets.mesh:443\n', 'config.yaml:1:17'],
    ['an upper-case trust domain', 'trustDomain: Acme\n', 'config.yaml:1:14'],
    ['an address with a port', 'address: 10.0.0.1:7410\n', 'config.yaml:1:10'],
    ['the same key twice', 'dev: true\ndev: false\n', 'config.yaml:2:1'],
    ['broken YAML', 'dev: [\n', 'config.yaml:2:1'],
    ['a list', '- dev\n', 'config.yaml:1:1'],
    ['a list as a value', 'listen: [a]\n', 'config.yaml:1:1'],
    ['an alias', 'address: &a 127.0.0.1\nlisten: *a\n', 'config.yaml:2:1'],
  ])('is refused with line and column for %s', (_what, yaml, place) => {
    const error = refusal(yaml)
    expect(error.code).toBe('CONFIG_INVALID')
    expect(error.message).toContain(`${place}:`)
  })

  it('says how a nested key is written', () => {
    expect(refusal('feed:\n  onStale: deny\n').hint).toContain('feed.onStale')
  })

  it('is written by init so that it reads back, each default shown as a comment', () => {
    const text = formatConfig({ trustDomain: 'acme.internal', dev: 'true' })
    expect(parseConfig(text, 'config.yaml')).toMatchObject({ trustDomain: 'acme.internal', dev: true })
    for (const { key } of SETTINGS) expect(text).toMatch(new RegExp(`^(# )?${key.replace('.', '\\.')}:`, 'm'))
  })

  it('listens on the address itself when that is one of IP, on all when it is a name', () => {
    expect(listenHostOf({ listen: null, address: '10.1.2.3' })).toBe('10.1.2.3')
    expect(listenHostOf({ listen: null, address: 'ca.acme.internal' })).toBe('0.0.0.0')
    expect(listenHostOf({ listen: '127.0.0.2', address: 'ca.acme.internal' })).toBe('127.0.0.2')
  })
})
