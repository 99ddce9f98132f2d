// Who may import whom (docs/architecture.md, section 2). A room is a folder; `may` lists the rooms it may import,
// `packages` the npm packages and `node:` modules that have their one door there (absent: any node: module, no package).
// The most specific room that holds a file decides.

import path from 'node:path'

const ROOT = import.meta.dirname

/** @type {{ room: string, may: string[], packages?: string[], node?: string[] }[]} */
export const ROOMS = [
  { room: 'mesh', may: ['mesh'], node: ['node:crypto'] },
  {
    room: 'mesh/full-certificate.ts',
    may: ['mesh'],
    node: ['node:module'],
    packages: ['@peculiar/x509', 'reflect-metadata'],
  },
  { room: 'mesh/renewal-proof.ts', may: ['mesh'], node: ['node:crypto'], packages: ['jose'] },
  {
    room: 'mesh/certificate-text.ts',
    may: ['mesh'],
    node: ['node:crypto'],
    packages: ['@peculiar/x509', 'reflect-metadata'],
  },
  {
    room: 'mesh/root-crl.ts',
    may: ['mesh'],
    node: ['node:crypto'],
    packages: ['@peculiar/x509', 'reflect-metadata'],
  },
  { room: 'mesh/yaml.ts', may: ['mesh'], node: [], packages: ['yaml'] },
  { room: 'host', may: ['mesh', 'host'] },
  { room: 'host/config.ts', may: ['mesh', 'host'], packages: ['yaml'] },
  { room: 'host/sqlite.ts', may: ['mesh', 'host'], packages: ['better-sqlite3'] },
  { room: 'member', may: ['mesh', 'host', 'member'] },
  { room: 'member/control/feed-connection.ts', may: ['mesh', 'host', 'member'], packages: ['ws'] },
  { room: 'ca', may: ['mesh', 'host', 'ca'] },
  { room: 'ca/keys/pkcs11-token.ts', may: ['mesh', 'host', 'ca'], packages: ['pkcs11js'] },
  { room: 'ca/feed.ts', may: ['mesh', 'host', 'ca'], packages: ['ws'] },
  { room: 'sidecar', may: ['mesh', 'host', 'member', 'sidecar'] },
  {
    room: 'sidecar/egress',
    may: [
      'mesh',
      'host',
      'member',
      'sidecar/call',
      'sidecar/audit',
      'sidecar/operation',
      'sidecar/http',
      'sidecar/http1',
      'sidecar/http2',
      'sidecar/transport',
      'sidecar/egress',
      'sidecar/connections.ts',
      'sidecar/config.ts',
      'sidecar/parts.ts',
    ],
  },
  {
    room: 'sidecar/ingress',
    may: [
      'mesh',
      'host',
      'member',
      'sidecar/call',
      'sidecar/audit',
      'sidecar/operation',
      'sidecar/http',
      'sidecar/http1',
      'sidecar/http2',
      'sidecar/transport',
      'sidecar/ingress',
      'sidecar/connections.ts',
      'sidecar/config.ts',
      'sidecar/parts.ts',
    ],
  },
  { room: 'sidecar/http', may: ['mesh/errors.ts', 'sidecar/http'], node: [] },
  { room: 'sidecar/http1', may: ['mesh/errors.ts', 'sidecar/http', 'sidecar/http1'] },
  { room: 'sidecar/http2', may: ['mesh/errors.ts', 'sidecar/http', 'sidecar/http2'], node: [] },
  {
    room: 'sidecar/transport',
    may: [
      'mesh/errors.ts',
      'host/sweep.ts',
      'host/turn.ts',
      'sidecar/http',
      'sidecar/http1',
      'sidecar/http2',
      'sidecar/transport',
    ],
  },
  {
    room: 'sidecar/call',
    may: ['mesh', 'host/sweep.ts', 'sidecar/http', 'sidecar/operation', 'sidecar/call', 'sidecar/http1'],
  },
  { room: 'collector', may: ['mesh', 'host', 'member', 'collector'] },
  {
    room: 'cli',
    // a program by its main.ts; the CA also by what is done to it while it does not serve; of the member room only where state lies and how keys for foreign clients are made
    may: [
      'mesh',
      'host',
      'cli',
      'ca/main.ts',
      'ca/init.ts',
      'ca/rotate.ts',
      'ca/recovery',
      'ca/rotate.ts',
      'sidecar/main.ts',
      'collector/main.ts',
      'member/identity/csr.ts',
      'member/operator.ts',
      'member/state-dir.ts',
    ],
    packages: ['commander'],
  },
  {
    room: 'cli/pkcs12.ts',
    may: ['mesh', 'host', 'cli'],
    packages: ['node-forge'],
  },
  { room: 'certs-dev', may: ['mesh', 'host', 'certs-dev'], packages: ['@peculiar/x509', 'reflect-metadata'] },
  { room: 'docs', may: ['mesh', 'docs'] },
  { room: 'examples', may: ['examples'] },
  {
    room: 'bench',
    may: ['mesh', 'host', 'member', 'ca', 'sidecar', 'collector', 'cli', 'certs-dev', 'bench'],
  },
  {
    room: 'bench/issuance/library-path.ts',
    may: ['ca'],
    packages: ['@peculiar/x509', 'reflect-metadata'],
  },
]

const roomOf = (file) =>
  ROOMS.filter(({ room }) => file === room || file.startsWith(`${room}/`)).sort(
    (a, b) => b.room.length - a.room.length,
  )[0]

const within = (file, place) => file === place || file.startsWith(`${place}/`)

/** The reason why `file` (repo-relative) may not import `specifier`, or undefined. */
export function whyNot(file, specifier) {
  const room = roomOf(file)
  if (room === undefined) return undefined
  if (specifier.startsWith('.')) {
    const target = path.posix
      .normalize(path.posix.join(path.posix.dirname(file), specifier))
      .replace(/\.js$/, '.ts')
    return room.may.some((place) => within(target, place))
      ? undefined
      : `${room.room} may not import ${target}`
  }
  if (specifier.startsWith('node:')) {
    return room.node === undefined || room.node.includes(specifier)
      ? undefined
      : `${room.room} may not import ${specifier}`
  }
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  return room.packages?.includes(name)
    ? undefined
    : `${name} has another door than ${room.room} (see eslint.rooms.js)`
}

const imports = {
  meta: { type: 'problem', schema: [], messages: { wall: '{{reason}}' } },
  create(context) {
    const file = path.relative(ROOT, context.filename).split(path.sep).join('/')
    const check = (node) => {
      const specifier = node.source?.value
      if (typeof specifier !== 'string') return
      const reason = whyNot(file, specifier)
      if (reason !== undefined) context.report({ node, messageId: 'wall', data: { reason } })
    }
    return {
      ImportDeclaration: check,
      ImportExpression: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
    }
  },
}

export const rooms = { rules: { imports } }
