{{/* Labels as Wire's charts have them. */}}
{{- define "guard.labels" -}}
app: {{ .Values.name }}
chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
release: {{ .Release.Name }}
heritage: {{ .Release.Service }}
{{- end }}

{{- define "guard.selector" -}}
app: {{ .Values.name }}
release: {{ .Release.Name }}
{{- end }}

{{/* A duration of the config in whole seconds, rounded up. */}}
{{- define "guard.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- $unit := regexReplaceAll "^[0-9]+ *" . "" -}}
{{- if eq $unit "ms" }}{{ div (add $number 999) 1000 }}{{ else }}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600) $unit) }}{{ end }}
{{- end }}

{{/* Whether preStop can wait without a program in the image. */}}
{{- define "guard.sleeps" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}yes{{ end }}
{{- end }}

{{- define "guard.gracePeriod" -}}
{{- $limits := .Values.config.limits | default dict -}}
{{- $delay := include "guard.seconds" ($limits.shutdown_delay | default "0s") | int -}}
{{- $drain := include "guard.seconds" ($limits.shutdown_timeout | default "30s") | int -}}
{{- add .Values.preStopSeconds $delay $drain 5 -}}
{{- end }}

{{- define "guard.hasTokens" -}}
{{- if or (hasKey (.Values.secrets | default dict) "tokens") .Values.tokensSecretRef }}yes{{ end }}
{{- end }}

{{/* Whether changes of the config and the schemas are noticed by the guard itself. */}}
{{- define "guard.watches" -}}
{{- if (.Values.config.reload | default dict).watch }}yes{{ end }}
{{- end }}

{{/* The scheme of the admin listener, in lower case. */}}
{{- define "guard.adminScheme" -}}
{{- with ((.Values.config.admin | default dict).tls) -}}
{{- if and .client_auth (dig "client_auth" "required" true .) -}}
{{- fail "config.admin.tls.client_auth: set `required: false`, as the probes of kubelet have no certificate." -}}
{{- end -}}
https
{{- else -}}
http
{{- end -}}
{{- end }}

{{/* Where pods of this release are placed. */}}
{{- define "guard.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "guard.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The Secret with the password of the Valkey server and the key of the hashes in it. */}}
{{- define "guard.valkeySecret" -}}
{{- .Values.valkey.secretName | default (printf "%s-valkey" .Values.name) }}
{{- end }}

{{- define "guard.valkeyLabels" -}}
app: {{ .Values.name }}-valkey
chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
release: {{ .Release.Name }}
heritage: {{ .Release.Service }}
{{- end }}

{{/* What only a restart can change: docs/reload.md. */}}
{{- define "guard.restart" -}}
{{- $config := include "guard.config" . | fromYaml -}}
{{- dict "threads" $config.threads "admin" $config.admin.listen "tracing" $config.tracing
  "wire_dashboard" ($config.metrics | default dict).wire_dashboard | toJson }}
{{- end }}

{{/* An entry of `listen`, as JSON. */}}
{{- define "guard.listener" -}}
{{- $entry := dict "address" (printf "%s:%d" .listen.address .port) -}}
{{- with .tls }}{{ $_ := set $entry "tls" . }}{{ end -}}
{{- with .listen.proxyProtocol }}{{ $_ := set $entry "proxy_protocol" . }}{{ end -}}
{{- toJson $entry }}
{{- end }}

{{/* The config file: that of the values, and the keys that follow from other values. */}}
{{- define "guard.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $listen := list -}}
{{- if not .Values.tls.only -}}
{{- $listen = append $listen (include "guard.listener" (dict "listen" .Values.listen "port" 8080) | fromJson) -}}
{{- else if not .Values.tls.secretName -}}
{{- fail "tls.only: set tls.secretName, or nothing would listen." -}}
{{- end -}}
{{- if .Values.tls.secretName -}}
{{- $certificate := dict "certificate" "/etc/wire/scim-guard/tls/tls.crt" "key" "/etc/wire/scim-guard/tls/tls.key" -}}
{{- $tls := dict "certificates" (list $certificate) -}}
{{- with .Values.tls.clientCaSecretRef -}}
{{- $_ := set $tls "client_auth" (dict "ca" "/etc/wire/scim-guard/client-ca/ca.pem" "required" $.Values.tls.clientAuthRequired) -}}
{{- end -}}
{{- $listen = append $listen (include "guard.listener" (dict "listen" .Values.listen "port" 8443 "tls" $tls) | fromJson) -}}
{{- end -}}
{{- $_ := set $config "listen" $listen -}}
{{- $admin := merge (dict "listen" (printf "%s:9090" .Values.listen.address)) ($config.admin | default dict) -}}
{{- if .Values.adminTokenSecretRef }}{{ $_ := set $admin "token_file" "/etc/wire/scim-guard/admin/token" }}{{ end -}}
{{- $_ := set $config "admin" $admin -}}
{{- if include "guard.hasTokens" . }}{{ $_ := set $config "tokens" "/etc/wire/scim-guard/tokens/tokens.yaml" }}{{ end -}}
{{- if .Values.schemas }}{{ $_ := set $config "schemas" "/etc/wire/scim-guard/schemas" }}{{ end -}}
{{- $shared := $config.shared | default dict -}}
{{- if .Values.valkey.enabled -}}
{{- if $shared.redis }}{{ fail "Set config.shared.redis or valkey.enabled, not both." }}{{ end -}}
{{- $server := printf "redis://%s-valkey:6379/0" .Values.name -}}
{{- $files := dict "key_file" "/etc/wire/scim-guard/valkey/key" "password_file" "/etc/wire/scim-guard/valkey/password" -}}
{{- $_ := set $config "shared" (merge (dict "redis" $server) $files $shared) -}}
{{- else if and $config.shared (not $shared.redis) -}}
{{- fail "config.shared: name the server in `redis`, or set valkey.enabled." -}}
{{- end -}}
{{- $limits := $config.limits | default dict -}}
{{- if and .Values.preStopSeconds (not (include "guard.sleeps" .)) (not (hasKey $limits "shutdown_delay")) -}}
{{- $_ := set $config "limits" (merge (dict "shutdown_delay" (printf "%ds" (int .Values.preStopSeconds))) $limits) -}}
{{- end -}}
{{- toYaml $config }}
{{- end }}
