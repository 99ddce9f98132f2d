// The chains of one run: each is started when it is first asked for, and all end together.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { freePorts, launch, type Started, stop } from '../../processes.js'
import { startCaddy } from './caddy.js'
import { type Chain, directChain, untilListening } from './chain.js'
import { startHaproxy } from './haproxy.js'
import { startNginx } from './nginx.js'
import { writePeerCertificates } from './peer-certificates.js'
import type { Peer, PeerPlace } from './peers.js'
import { type BenchMesh, OUR_CHAINS, startBenchMesh } from './troth.js'

const HTTP1 = { app: 'http/1.1' } as const

/** Chains of other people's proxies by name, and what has to be installed for them. */
export const PEER_CHAINS: Readonly<
  Record<string, { readonly peer: Peer; readonly start: (place: PeerPlace) => Promise<Chain> }>
> = {
  nginx: { peer: 'nginx', start: (place) => startNginx(place, 'plain') },
  'nginx+log': { peer: 'nginx', start: (place) => startNginx(place, 'log') },
  'haproxy-h2': {
    peer: 'haproxy',
    start: (place) => startHaproxy(place, { ...HTTP1, between: 'h2', log: 'no log' }),
  },
  'haproxy-h2+log': {
    peer: 'haproxy',
    start: (place) => startHaproxy(place, { ...HTTP1, between: 'h2', log: 'log' }),
  },
  'haproxy-h1': {
    peer: 'haproxy',
    start: (place) => startHaproxy(place, { ...HTTP1, between: 'h1', log: 'no log' }),
  },
  'nginx-grpc': { peer: 'nginx', start: (place) => startNginx(place, 'grpc') },
  'haproxy-grpc': {
    peer: 'haproxy',
    start: (place) => startHaproxy(place, { between: 'h2', log: 'no log', app: 'h2c' }),
  },
  caddy: { peer: 'caddy', start: startCaddy },
}

export interface Chains extends AsyncDisposable {
  /** @throws Error with what a process said that did not start */
  get(name: string): Promise<Chain>
}

export async function openChains(options: { dist: string; profileDir: string | null }): Promise<Chains> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'tb-peers-'))
  const [port = 0] = await freePorts(1)
  const app = launch(path.join(options.dist, 'bench/calls/app/main.js'), [String(port)])
  const open = new Map<string, Promise<Chain>>()
  let mesh: Promise<BenchMesh> | undefined
  let place: Promise<PeerPlace> | undefined

  const start = async (name: string): Promise<Chain> => {
    if (name === 'direct') return directChain(port)
    const ours = OUR_CHAINS.find((each) => each === name)
    if (ours !== undefined) {
      mesh ??= startBenchMesh({ ...options, app: port })
      return (await mesh).startPair(ours)
    }
    const known = PEER_CHAINS[name]
    if (known === undefined) throw new Error(`there is no chain ${name}`)
    place ??= makePlace(dir, port)
    return known.start(await place)
  }
  const close = () =>
    closeAll([...open.values()], mesh, app).finally(() => rmSync(dir, { recursive: true, force: true }))
  try {
    await untilListening(app, port)
  } catch (error) {
    await close()
    throw error
  }
  return {
    get(name) {
      const chain = open.get(name) ?? start(name)
      open.set(name, chain)
      return chain
    },
    [Symbol.asyncDispose]: close,
  }
}

async function makePlace(dir: string, app: number): Promise<PeerPlace> {
  mkdirSync(path.join(dir, 'pki'))
  return { dir, app, files: await writePeerCertificates(path.join(dir, 'pki')) }
}

async function closeAll(
  chains: readonly Promise<Chain>[],
  mesh: Promise<BenchMesh> | undefined,
  app: Started,
): Promise<void> {
  for (const chain of await Promise.allSettled(chains)) {
    if (chain.status === 'fulfilled') await chain.value[Symbol.asyncDispose]()
  }
  const [opened] = await Promise.allSettled([mesh])
  if (opened.status === 'fulfilled') await opened.value?.[Symbol.asyncDispose]()
  await stop(app)
}
