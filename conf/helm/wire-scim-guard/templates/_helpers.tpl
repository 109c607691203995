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
{{- $unit := regexReplaceAll "^[0-9]+" . "" -}}
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

{{/* The config file: that of the values, and the keys that follow from other values. */}}
{{- define "guard.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $listen := list "0.0.0.0:8080" -}}
{{- if .Values.tls.secretName -}}
{{- $certificate := dict "certificate" "/etc/wire/scim-guard/tls/tls.crt" "key" "/etc/wire/scim-guard/tls/tls.key" -}}
{{- $tls := dict "certificates" (list $certificate) -}}
{{- with .Values.tls.clientCaSecretRef -}}
{{- $_ := set $tls "client_auth" (dict "ca" "/etc/wire/scim-guard/client-ca/ca.pem" "required" $.Values.tls.clientAuthRequired) -}}
{{- end -}}
{{- $listen = append $listen (dict "address" "0.0.0.0:8443" "tls" $tls) -}}
{{- end -}}
{{- $_ := set $config "listen" $listen -}}
{{- $admin := merge (dict "listen" "0.0.0.0:9090") ($config.admin | default dict) -}}
{{- if .Values.adminTokenSecretRef }}{{ $_ := set $admin "token_file" "/etc/wire/scim-guard/admin/token" }}{{ end -}}
{{- $_ := set $config "admin" $admin -}}
{{- if include "guard.hasTokens" . }}{{ $_ := set $config "tokens" "/etc/wire/scim-guard/tokens/tokens.yaml" }}{{ end -}}
{{- if .Values.schemas }}{{ $_ := set $config "schemas" "/etc/wire/scim-guard/schemas" }}{{ end -}}
{{- $limits := $config.limits | default dict -}}
{{- if and .Values.preStopSeconds (not (include "guard.sleeps" .)) (not (hasKey $limits "shutdown_delay")) -}}
{{- $_ := set $config "limits" (merge (dict "shutdown_delay" (printf "%ds" (int .Values.preStopSeconds))) $limits) -}}
{{- end -}}
{{- toYaml $config }}
{{- end }}
