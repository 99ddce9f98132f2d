// Verifiers that we did not write, each asked all cases. A verdict is what the program says by its exit code or its line; a program
// that is missing is an error that says what to install.

import { mkdtempSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { CliHome, Finished } from '../../support/cli-home.js'
import type { Case, Usage } from './cases.js'

/** Whether each case was accepted, in order. */
export type Verdicts = readonly boolean[]

const HERE = import.meta.dirname

/** Runs one program after the other. @throws when it is not installed */
async function each(
  home: CliHome,
  cases: readonly Case[],
  command: (asked: Case) => readonly [program: string, ...args: string[]],
): Promise<Verdicts> {
  const verdicts: boolean[] = []
  for (const asked of cases) {
    const [program, ...args] = command(asked)
    verdicts.push(checkRan(program, await home.run(program, args)).code === 0)
  }
  return verdicts
}

const PACKAGES: Readonly<Record<string, string>> = {
  openssl: 'openssl',
  certtool: 'gnutls-bin',
  'gnutls-cli': 'gnutls-bin',
  certutil: 'libnss3-tools',
  crlutil: 'libnss3-tools',
  vfychain: 'libnss3-tools',
  python3: 'python3',
}

/** @throws with what to install when the program was not found */
export function checkRan(program: string, finished: Finished): Finished {
  if (finished.code === 127)
    throw new Error(`${program} is not here: apt install ${PACKAGES[program] ?? program}`)
  return finished
}

export const openssl = (home: CliHome, cases: readonly Case[]): Promise<Verdicts> =>
  each(home, cases, ({ usage, root, chain, leaf }) => [
    ...(['openssl', 'verify', '-x509_strict', '-no-CApath', '-no-CAstore'] as const),
    ...[
      '-purpose',
      usage === 'client' ? 'sslclient' : 'sslserver',
      '-CAfile',
      root,
      '-untrusted',
      chain,
      leaf,
    ],
  ])

const PURPOSE: Readonly<Record<Usage, string>> = {
  client: '1.3.6.1.5.5.7.3.2',
  server: '1.3.6.1.5.5.7.3.1',
}

export const gnutls = (home: CliHome, cases: readonly Case[]): Promise<Verdicts> =>
  each(home, cases, ({ usage, root, chain }) => [
    ...(['certtool', '--verify', '--verify-profile', 'medium', '--load-ca-certificate', root] as const),
    ...['--verify-purpose', PURPOSE[usage], '--infile', chain],
  ])

/** NSS by its database: all certificates are imported, only the root is trusted. */
export async function nssDatabase(home: CliHome, cases: readonly Case[]): Promise<Verdicts> {
  const db = await openNss(home, cases[0]?.root ?? '')
  const imported = new Set<string>()
  const add = async (file: string): Promise<void> => {
    if (imported.has(file)) return
    imported.add(file)
    await home.run('certutil', ['-A', '-d', db, '-n', file, '-t', ',,', '-i', file])
  }
  for (const { leaf, above } of cases) for (const file of [...above, leaf]) await add(file)
  return each(home, cases, ({ usage, leaf }) => [
    ...(['certutil', '-V', '-d', db, '-n', leaf, '-e', '-u', usage === 'client' ? 'C' : 'V'] as const),
  ])
}

/** NSS by its PKIX library, with the chain as it is presented. */
export async function nssPkix(home: CliHome, cases: readonly Case[]): Promise<Verdicts> {
  const db = await openNss(home, cases[0]?.root ?? '')
  return each(home, cases, ({ usage, leaf, above }) => [
    ...(['vfychain', '-d', db, '-pp', '-u', usage === 'client' ? '0' : '1', '-a', leaf] as const),
    ...above.flatMap((file) => ['-a', file]),
  ])
}

/** A new NSS database that trusts `root` for clients and servers. */
export async function openNss(home: CliHome, root: string): Promise<string> {
  const db = `sql:${mkdtempSync(path.join(home.dir, 'nss-'))}`
  checkRan('certutil', await home.run('certutil', ['-N', '-d', db, '--empty-password']))
  await home.run('certutil', ['-A', '-d', db, '-n', 'root', '-t', 'CT,,', '-i', root])
  return db
}

/** A verifier of its own in another language: all cases in one run, a line each. */
export async function byLines(
  home: CliHome,
  cases: readonly Case[],
  command: readonly [program: string, ...args: string[]],
): Promise<Verdicts> {
  const file = path.join(home.dir, 'cases.tsv')
  writeFileSync(file, cases.map(({ usage, root, chain }) => `${usage}\t${root}\t${chain}\n`).join(''))
  const [program, ...args] = command
  const { code, stdout, stderr } = await home.run(program, [...args, file])
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr}`)
  return stdout
    .trim()
    .split('\n')
    .map((line) => line === 'ok')
}

export const java = (home: CliHome, cases: readonly Case[]): Promise<Verdicts> =>
  byLines(home, cases, ['java', path.join(HERE, 'Pkix.java')])

export const go = (home: CliHome, cases: readonly Case[]): Promise<Verdicts> =>
  byLines(home, cases, ['go', 'run', path.join(HERE, 'pkix.go')])

/** Lints of zlint about one certificate that are worse than a notice; its sources that speak of private meshes. */
export async function zlint(home: CliHome, leaf: string): Promise<string[]> {
  const sources = 'RFC5280,RFC5480,RFC5891,Community'
  const { stdout } = await home.run('zlint', ['-includeSources', sources, leaf])
  const results = JSON.parse(stdout) as Record<string, { readonly result: string }>
  return Object.entries(results)
    .filter(([, { result }]) => ['warn', 'error', 'fatal'].includes(result))
    .map(([lint]) => lint)
}
