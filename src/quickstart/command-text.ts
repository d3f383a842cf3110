/** The `relay-gateway` command on the machine of a gateway: a script that gives the program the gateway's settings and user. */

export interface CommandOptions {
  /** Node.js and the program, absolute, without what a shell would take for something else. */
  readonly node: string;
  readonly program: string;
  /** The file of the settings, for root's eyes only. */
  readonly settings: string;
  /** The gateway's user, and the name of its group. */
  readonly user: string;
}

/**
 * The script's text, for sh (POSIX). Root's commands run with the settings and as the gateway's user, in the folder and with
 * the standard input that they were called with; what needs no gateway, or edits root's own files, runs as it was called.
 */
export function commandText({ node, program, settings, user }: CommandOptions): string {
  const becomeUser = `process.initgroups("${user}","${user}");process.setgid("${user}");process.setuid("${user}")`;
  return `#!/bin/sh
umask 077
case " $* " in
  *' --help '* | *' --edit '*) exec ${node} ${program} "$@" ;;
esac
case "\${1-}" in
  '' | -* | help | quickstart | recovery-key | ping | courier | cost | provision | deprovision)
    exec ${node} ${program} "$@" ;;
esac
if [ "$(id -u)" != 0 ]; then
  echo "relay-gateway: the settings are for root's eyes only: sudo relay-gateway $1" >&2
  exit 2
fi
# What is set in the environment already counts more than the file.
if [ "$1" = certificate ]; then
  # Port 80 is for root; files it gives to the owner of their folder.
  exec ${node} --env-file=${settings} ${program} "$@"
fi
exec ${node} --env-file=${settings} --import='data:text/javascript,${becomeUser}' ${program} "$@"
`;
}
